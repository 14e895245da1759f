// A second client joins as a player that has one: the first is told, disconnected, and stays away; the others are told
// of no departure. For every two transports.

import { expectEqual, expectSameWorld, expectUndisturbed, scenario, settle, TRANSPORTS, until } from "../lib.mjs";

const REPLACED = { reason: "session:replaced" };

await scenario("replaced", async (stage, { only }) => {
    const goodbye = [...(only ? [] : [["session:disconnect", REPLACED]]), ["session:terminated", REPLACED]];
    const [watcher] = await stage.join(["watcher"]);
    for (const [from, first] of Object.entries(TRANSPORTS)) {
        for (const [to, second] of Object.entries(TRANSPORTS)) {
            await replace(stage, watcher, `${from}-${to}`, [first, second], goodbye);
        }
    }
    expectUndisturbed([watcher]);
    return "whoever was replaced stayed away";
}, { options: { only: { type: "boolean", default: false } } });

async function replace(stage, watcher, name, [first, second], goodbye) {
    const old = await stage.connect(name, first);
    await old.join({ metadata: { of: "old" } });
    await settle(old, [watcher]);
    old.look();
    watcher.look();

    const fresh = await stage.connect(name, second);
    fresh.look();
    const player = await fresh.join({ metadata: { of: "new" } });
    await until(`${name} to be sent away`, () => old.disconnects.length > 0);
    expectEqual("what the old client is told", old.look(), goodbye);
    // That it was the server's wish keeps the library from coming back.
    expectEqual("why it ends", old.disconnects, ["io server disconnect"]);
    expectEqual("whether it means to come back", old.socket.active, false);
    await settle(fresh, [watcher]);
    expectEqual("what others are told", watcher.look(), [["player:joined", player]]);
    expectEqual("what the new client is told", fresh.look(), []);
    await fresh.done("player:update", { animation: "wave" });
    expectEqual("connections and attempts of the old", [old.opens, old.attempts], [1, 0]);
    await settle(fresh, [watcher]);
    watcher.look();

    // It may come back if somebody wants it to, by another connection, and nothing is left of before.
    old.socket.connect();
    await old.connected();
    old.look();
    await old.join({ metadata: { of: "old again" } });
    await until("the other to be sent away", () => fresh.disconnects.length > 0);
    expectEqual("what it is told", fresh.look(), goodbye);
    await settle(old, [watcher]);
    expectEqual("what others are told", watcher.look("player:joined").length, 1);
    await expectSameWorld(stage, [watcher, old]);
    old.disconnect();
    await until(`${name} to have left`, () => !watcher.players.has(old.id));
    await settle(watcher, []);
    expectEqual("what others are told", watcher.look(), [["player:left", { id: old.id }]]);
    expectEqual("connections", [old.opens, fresh.opens, fresh.attempts], [2, 1, 0]);
}
