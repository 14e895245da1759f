// Zeal's Socket.IO form: clients that do what Zeal's web client does, over the published Socket.IO client, and stock
// clients of y-websocket edit one document.

import { io } from "socket.io-client";
import { Editor } from "../edits.mjs";
import { breathe, expect, expectConnections, expectEqual, scenario, until, untilSame } from "../lib.mjs";
import { SocketIoClient } from "../socketio.mjs";
import { message } from "../zeal.mjs";
import { MESSAGE } from "../wire.mjs";

const EDITS = 200;

await scenario("zeal-socketio", async (stage, { path }) => {
    const url = stage.url.replace(/^ws/, "http").replace(/\/yjs$/, "");
    const join = (name, transports) => new SocketIoClient(name, { url, path, room: stage.run, transports });
    const zoe = join("zoe");
    const pol = join("pol", ["polling", "websocket"]);
    const [ann, bob] = await stage.join(["ann", "bob"]);
    await Promise.all([zoe, pol].map(client => client.synced()));
    expectEqual("pol's transport", pol.transport, "websocket");
    const all = [ann, bob, zoe, pol];
    for (const client of all) client.awareness.setLocalState({ user: client.name });

    await Promise.all(all.map((client, i) => edits(client, stage.seed + i)));
    await settled(all);
    await untilSame(all);
    await seeEachOther(all);

    const late = join("late");
    const [later] = await stage.join(["later"]);
    await late.synced();
    for (const client of [late, later]) client.awareness.setLocalState({ user: client.name });
    await settled([late, later]);
    await untilSame([...all, late, later]);
    await seeEachOther([...all, late, later]);

    await customs(zoe, pol, [ann, bob, later]);
    await wrong(zoe, url, path, stage.run);
    await leaves(zoe, all);
    await isCut(pol, all);
    await edits(later, stage.seed + 100);
    await settled([later]);
    await untilSame([...all, late, later]);

    late.close();
    await until("ann to see late gone", () => !ann.others.has(late.id));
    expectConnections([zoe, later]);
    expectConnections([ann, bob, pol], 2);
    return "edited, joined late, left, came back after a cut, and saw each other in both forms";
}, { options: { path: { type: "string", default: "/zeal/socket.io/" } } });

async function edits(client, seed) {
    const editor = new Editor(seed);
    for (let i = 0; i < EDITS; i++) {
        editor.edit(client.doc);
        await breathe(client);
    }
}

function settled(clients) {
    return Promise.all(clients.map(client => client.settled()));
}

async function seeEachOther(clients) {
    for (const client of clients) {
        const others = clients.filter(other => other !== client);
        await until(`${client.name} to see all others`, () =>
            client.others.size === others.length
            && others.every(({ id, name }) => client.others.get(id)?.user === name));
    }
}

/** To the others, not back; a heartbeat to nobody. */
async function customs(zoe, pol, stock) {
    // Stock clients say on the console that they do not know such messages, which is a failure here.
    await Promise.all(stock.map(client => client.disconnect()));
    zoe.say({ type: "heartbeat", timestamp: 1 });
    zoe.say({ type: "wave", to: "all" });
    await settled([zoe]);
    await settled([pol]);
    expectEqual("custom messages of pol", pol.customs, [{ type: "wave", to: "all" }]);
    expectEqual("custom messages of zoe", zoe.customs, []);
    for (const client of stock) client.sockets.length = client === stock.at(-1) ? 0 : 1;
    await Promise.all(stock.map(client => client.reconnect()));
}

/** What is wrong is told, and has no effect. */
async function wrong(zoe, url, path, room) {
    const notJoined = { error: "Not joined", message: "Not joined", type: "membership" };
    const query = message(MESSAGE.queryAwareness);
    expectEqual("for another room", await zoe.error(() => zoe.send(query, `${room}-2`)), notJoined);
    const invalid = { error: "Invalid message", message: "Invalid message", type: "invalid" };
    expectEqual("for no bytes", await zoe.error(() => zoe.io.emit("crdt:message", room, [256])), invalid);
    expectEqual("for no frame", await zoe.error(() => zoe.send([9])), invalid);
    const answer = await zoe.io.timeout(60_000).emitWithAck("crdt:message", room, [...query]);
    expectEqual("what a message is acknowledged with", answer, undefined);

    const stranger = io(`${url}/nowhere`, { path, transports: ["websocket"], forceNew: true, reconnection: false });
    const refusal = await new Promise(resolve => stranger.on("connect_error", resolve));
    expectEqual("another namespace", refusal.message, "Invalid namespace");
    stranger.io.engine.close();
}

/** What it writes meanwhile comes with it when it is back. */
async function leaves(zoe, all) {
    const others = all.filter(client => client !== zoe);
    zoe.leave();
    await until("the others to see zoe gone", () => others.every(client => !client.others.has(zoe.id)));
    const { error } = await zoe.error(() => zoe.send(message(MESSAGE.queryAwareness)));
    expectEqual("what zoe is told in no room", error, "Not joined");
    zoe.text.insert(0, "zoe was away; ");
    others[0].text.insert(0, "others were not; ");
    await settled([others[0]]);
    expect("zoe not to hear of it", !zoe.text.toString().includes("others were not"), zoe.text.toString());
    zoe.join();
    await settled([zoe]);
    await settled(others);
    await untilSame(all);
    await until("the others to see zoe again", () => others.every(client => client.others.has(zoe.id)));
}

/** A connection that ends without a word; the client comes back by itself. */
async function isCut(pol, all) {
    const others = all.filter(client => client !== pol);
    pol.cut();
    pol.text.insert(0, "pol was cut; ");
    await until("pol to be back", () => pol.sockets.length === 2 && pol.provider.synced);
    await settled([pol]);
    await settled(others);
    await untilSame(all);
    await until("the others to see pol", () => others.every(client => client.others.has(pol.id)));
}
