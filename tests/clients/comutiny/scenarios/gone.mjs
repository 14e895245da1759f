// Whatever way a client goes, the others are told that its player left, once; who played nobody leaves unnoticed.
// With --timeout one goes by not answering pings, which takes 45 s.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { expectEqual, expectUndisturbed, scenario, settle, TRANSPORTS, until, WEB } from "../lib.mjs";

/** Ways to go, each of a client that has joined. */
const WAYS = {
    disconnect: client => client.disconnect(),
    // Only the connection ends: the library would come back.
    close: client => { client.socket.io.reconnection(false); client.socket.io.engine.close(); },
    "leave and disconnect": async client => {
        await client.ask("player:leave");
        client.disconnect();
    },
};

await scenario("gone", async (stage, { timeout }) => {
    const watchers = await stage.join(["one", "two"]);
    const [one] = watchers;
    const expectLeft = async id => {
        await until(`${id} to be gone`, () => watchers.every(({ players }) => !players.has(id)));
        await settle(one, watchers);
        for (const each of watchers) expectEqual(`${each.name} is told`, each.look(), [["player:left", { id }]]);
    };
    for (const [kind, transports] of Object.entries(TRANSPORTS)) {
        for (const [way, go] of Object.entries(WAYS)) {
            const client = await stage.connect(`${kind} ${way}`, transports);
            await client.join();
            await settle(client, watchers);
            for (const each of watchers) expectEqual("arrivals", each.look("player:joined").length, 1);
            await go(client);
            await expectLeft(client.id);
        }
        const id = `${stage.run}-${kind}-killed`;
        const child = await joinElsewhere(stage, id, transports);
        await until(`${id} to be there`, () => watchers.every(({ players }) => players.has(id)));
        for (const each of watchers) each.look();
        child.kill("SIGKILL");
        await expectLeft(id);

        const nobody = await stage.connect(`${kind} nobody`, transports);
        nobody.disconnect();
        await settle(one, watchers);
        for (const each of watchers) expectEqual(`${each.name} is told`, each.look(), []);
    }
    if (timeout) {
        const silent = await stage.connect("silent", WEB);
        await silent.join();
        await settle(silent, watchers);
        for (const each of watchers) each.look();
        // It hears, and does not answer.
        silent.socket.io.reconnection(false);
        const { engine } = silent.socket.io;
        const { _sendPacket } = engine;
        engine._sendPacket = (type, ...rest) => type === "pong" || _sendPacket.call(engine, type, ...rest);
        await until("the silent one to be gone", () => watchers.every(({ players }) => !players.has(silent.id)));
        for (const each of watchers) expectEqual(`${each.name} is told`, each.look(), [["player:left", { id: silent.id }]]);
        await until("the silent one to know", () => silent.disconnects.length === 1);
        expectEqual("how it ends", silent.disconnects, ["transport close"]);
    }
    expectUndisturbed(watchers);
    return "everybody who went was seen to go, once";
}, { options: { timeout: { type: "boolean", default: false } } });

/** Somebody joins from another process, which waits for more then: between two polls no connection tells of an end. */
async function joinElsewhere({ url, path }, id, transports) {
    const script = `
        const { io } = await import("socket.io-client");
        const socket = io(${JSON.stringify(url)}, ${JSON.stringify({ path, transports })});
        await socket.emitWithAck("player:join", { playerId: ${JSON.stringify(id)} });
        // A payload that was answered: the poll went out before.
        socket.io.engine.once("drain", () => console.log("waiting"));
        socket.emit("nothing");
    `;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", script], { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    return child;
}
