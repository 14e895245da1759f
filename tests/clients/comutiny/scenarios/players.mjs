// Joining, moving and leaving: what is acknowledged, who is told, how often, and what. Once for each transport.

import { expect, expectEqual, expectSameWorld, expectUndisturbed, scenario, settle, TRANSPORTS } from "../lib.mjs";

await scenario("players", async stage => {
    for (const [name, transports] of Object.entries(TRANSPORTS)) await play(stage, name, transports);
    return "players came, moved and went";
});

async function play(stage, kind, transports) {
    const [watcher] = await stage.join([`${kind}-watcher`]);
    const ann = await stage.connect(`${kind}-ann`, transports);
    const bob = await stage.connect(`${kind}-bob`, transports); // only watches
    const others = [watcher, bob];
    for (const each of [...others, ann]) each.look();

    /** The others are told this, once each, and its author nothing. */
    const expectTold = async expected => {
        await settle(ann, others);
        for (const each of others) expectEqual(`${each.name} is told`, each.look(), expected);
        expectEqual(`${ann.name} is told`, ann.look(), []);
    };
    const player = (more = {}) => ({
        id: ann.id, name: "Ann", position: { x: 1, y: 2, z: 3 }, animation: "walk", metadata: { k: 1 }, ...more,
    });

    await ann.refused("player:update", "Player not registered", { name: "nobody" });
    const said = { playerId: ` ${ann.id}\n`, name: " Ann ", position: { x: 1, y: "2", z: 3, w: 4 }, animation: " walk ", metadata: { k: 1 } };
    const joined = await ann.done("player:join", said);
    expectEqual("what a join is answered", Object.keys(joined), ["ok", "state", "player"]);
    expectEqual("the player that joins", joined.player, player());
    expectEqual("it is in the snapshot", joined.state.players.find(({ id }) => id === ann.id), player());
    await expectTold([["player:joined", player()]]);

    const moved = player({ position: { x: 7, y: 0, z: 0 } });
    const updated = await ann.done("player:update", { position: { x: 7 } });
    expectEqual("what an update is answered", updated, { ok: true, player: moved });
    await expectTold([["player:updated", moved]]);

    // Fields are independent of each other, and what is falsy changes nothing.
    const changes = { position: 0, animation: "", name: " Anna ", metadata: { l: "x", appearance: { hair: "red", age: 5 } } };
    const changed = player({ position: moved.position, name: "Anna", metadata: { k: 1, l: "x", appearance: { hair: "red" } } });
    expectEqual("an update of some fields", (await ann.done("player:update", changes)).player, changed);
    await expectTold([["player:updated", changed]]);
    changed.metadata.appearance.face = "round";
    const appearance = { metadata: { appearance: { face: "round" } } };
    expectEqual("an appearance is merged", (await ann.done("player:update", appearance)).player, changed);
    await expectTold([["player:updated", changed]]);

    // Without an acknowledgement, and many at once: in order, the last for sure, the others unless a newer one was there
    // by the time somebody could be told.
    for (let x = 0; x < 5; x++) ann.socket.emit("player:update", { position: { x } });
    await settle(ann, others);
    for (const each of others) {
        const told = each.look();
        const positions = told.map(([, { position }]) => position.x);
        expect(`rising positions for ${each.name}`, positions.every((x, i) => i === 0 || positions[i - 1] < x), positions);
        expectEqual(`the last that ${each.name} is told`, positions.at(-1), 4);
        expect("updates only", told.every(([event]) => event === "player:updated"), told);
    }
    ann.look();

    // Joining again replaces the whole player, and is told.
    const again = await ann.done("player:join", { playerId: ann.id });
    const plain = player({ name: `Player ${ann.id}`, position: { x: 0, y: 0, z: 0 }, animation: "idle", metadata: {} });
    expectEqual("the player that joins again", again.player, plain);
    await expectTold([["player:joined", plain]]);

    // Under another id the first is given up.
    const other = { ...plain, id: `${ann.id}-2`, name: "Two" };
    await ann.done("player:join", { playerId: other.id, name: "Two" });
    ann.id = other.id;
    await expectTold([["player:left", { id: plain.id }], ["player:joined", other]]);
    await expectSameWorld(stage, [watcher, bob, ann]);

    for (const args of [[], [{ why: "a payload" }]]) {
        expectEqual("what leaving is answered", await ann.ask("player:leave", ...args), { ok: true });
    }
    await settle(watcher, [bob, ann]);
    for (const each of others) expectEqual(`${each.name} is told`, each.look(), [["player:left", { id: other.id }]]);
    expectEqual("whoever leaves is told", ann.look(), []);
    ann.players.delete(other.id);
    await ann.refused("player:update", "Player not registered", {});

    await ann.join({ name: "Back" });
    await settle(ann, others);
    await expectSameWorld(stage, [watcher, bob, ann]);
    expectUndisturbed([watcher, bob, ann]);
    for (const each of [watcher, bob, ann]) each.disconnect();
}
