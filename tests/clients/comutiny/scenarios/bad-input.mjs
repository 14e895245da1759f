// Payloads that make no sense are refused or taken as empty, and the client stays; packets that make none end its
// connection; others do not notice either.

import { WebSocket } from "ws";
import { expect, expectEqual, expectSameWorld, expectUndisturbed, scenario, settle, TRANSPORTS, until } from "../lib.mjs";

const PAYLOADS = [undefined, null, 0, -1.5, 1e300, true, "", "text", [], [1], [[]], {}, { playerId: {} }, { playerId: null },
    { content: 7 }, { name: 5, position: [], animation: {}, metadata: "x" }, new Uint8Array([1, 2, 3]),
    { bytes: new Uint8Array(0) }, "\ud800", "🦀".repeat(1000), { __proto__: null, constructor: 1 }];

/** Packets, each on a connection that has entered the world. */
const PACKETS = {
    "an unknown Engine.IO packet": "9",
    "a client's ping": "2",
    "an empty message": "4",
    "an unknown Socket.IO packet": "49",
    "an event that is no array": "42{}",
    "an event without a name": "42[]",
    "an event with a reserved name": '42["disconnect"]',
    "broken JSON": '42["player:join",{]',
    "a namespace it is not in": '42/other,["x"]',
    "a second connect": "40",
    "a connect error": '44{"message":"x"}',
    "an attachment out of turn": Buffer.from([1]),
    "too many attachments": '451000-["x"]',
    "JSON that is nested too deep": `42["player:join",${"[".repeat(100_000)}${"]".repeat(100_000)}]`,
    "more than may be sent at once": `42["player:join",{"playerId":"${"x".repeat(1_000_001)}"}]`,
};

await scenario("bad-input", async stage => {
    const watchers = await stage.join(["one", "two"]);
    for (const [name, transports] of Object.entries(TRANSPORTS)) {
        const client = await stage.connect(name, transports);
        for (const payload of PAYLOADS) await offer(client, payload);
        await client.join();
        for (const payload of PAYLOADS) {
            // A player may be changed so; the answer says how.
            const answer = await client.ask("player:update", payload);
            expect("an answer", answer.ok === true || typeof answer.message === "string", answer);
            expectEqual("a message of nothing", (await client.ask("chat:message", payload)).ok, false);
            client.socket.emit("unheard of", payload);
            client.socket.emit("player:update", payload, payload, payload);
        }
        await settle(client, watchers);
        expectUndisturbed([client]);
        client.disconnect();
    }
    for (const [what, packet] of Object.entries(PACKETS)) await expectClosed(stage, what, packet);
    await settle(watchers[0], watchers);
    await expectSameWorld(stage, watchers);
    expectUndisturbed(watchers);
    return `${PAYLOADS.length} payloads and ${Object.keys(PACKETS).length} packets did no harm`;
});

async function offer(client, payload) {
    const joined = await client.ask("player:join", payload);
    expectEqual(`ok of a join with ${JSON.stringify(payload)}`, joined, { ok: false, message: "playerId is required" });
    await client.refused("player:update", "Player not registered", payload);
    const said = await client.ask("chat:message", payload);
    expect("a refusal", said.ok === false && typeof said.message === "string", said);
    expectEqual("what leaving is answered", await client.ask("player:leave", payload), { ok: true });
}

async function expectClosed({ url, path }, what, packet) {
    const socket = new WebSocket(`${url.replace("http", "ws")}${path}?EIO=4&transport=websocket`);
    let closed = null;
    await new Promise((resolve, reject) => {
        socket.on("error", reject);
        socket.on("message", data => {
            const text = data.toString();
            if (text.startsWith("0")) socket.send("40");
            if (text.startsWith("42")) socket.send(packet);
        });
        socket.on("close", code => { closed = code; resolve(); });
    });
    await until(`${what} to end the connection`, () => closed !== null);
    expect(`a close without a status, or 1009, for ${what}`, closed === 1005 || closed === 1009, closed);
}
