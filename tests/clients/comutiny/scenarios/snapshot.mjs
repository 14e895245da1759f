// Whoever connects is shown the world, unasked and before anything else; it is the same world for everybody.

import { expect, expectEqual, expectSameWorld, expectUndisturbed, scenario, settle, TRANSPORTS, until } from "../lib.mjs";

await scenario("snapshot", async stage => {
    const [ann, bob] = await stage.join(["ann", "bob"]);
    await ann.done("player:update", { position: { x: "1.5", y: null, z: "far" }, metadata: { hat: [1, { a: null }] } });
    // A server that holds updates back would tell it to those who come now, too.
    await until("bob to be told of it", () => bob.told.some(([event]) => event === "player:updated"));
    const all = [ann, bob];
    for (const [name, transports] of Object.entries(TRANSPORTS)) {
        const client = await stage.connect(name, transports);
        const [[event, snapshot], ...more] = client.look();
        expectEqual(`first event of ${name}`, event, "world:state");
        expectEqual(`more events of ${name}`, more, []);
        expectEqual("keys of a snapshot", Object.keys(snapshot), ["world", "players", "chat", "spriteAtlas"]);
        expectEqual("keys of a world", Object.keys(snapshot.world), ["id", "name", "description"]);
        const expected = {
            id: ann.id, name: "ann", position: { x: 1.5, y: 0, z: 0 }, animation: "idle",
            metadata: { hat: [1, { a: null }] },
        };
        expectEqual("ann", snapshot.players.find(({ id }) => id === ann.id), expected);
        const [first] = snapshot.chat;
        expectEqual("keys of a message", Object.keys(first), ["id", "playerId", "author", "content", "timestamp"]);
        expect("an id of a message", snapshot.chat.every(({ id }) => /^[0-9a-z]+-[0-9a-z]+$/.test(id)), snapshot.chat);
        expectEqual("a time", new Date(first.timestamp).toISOString(), first.timestamp);
        expectEqual("the atlas", snapshot.spriteAtlas, { version: 1, updatedAt: null, sprites: [], lookup: {} });
        // Its connection has a name of its own, which is not the engine's.
        expect("another id than the engine's", client.socket.id !== client.socket.io.engine.id, client.socket.id);
        all.push(client);
    }
    const moved = all.at(-1);
    await until("the last to have moved to a WebSocket", () => moved.transport === "websocket");
    const transports = ["websocket", "websocket", "websocket", "polling", "websocket"];
    expectEqual("transports", all.map(({ transport }) => transport), transports);
    await settle(ann, all);
    await expectSameWorld(stage, all);
    expectUndisturbed(all);
    return `${all.length} clients were shown the world`;
});
