// States of clients: seen by all, echoed to their owner, gone with a goodbye and gone without one, and never seen by
// who comes after that.

import { expect, expectConnections, expectEqual, scenario, until } from "../lib.mjs";

// Rounds of questions to the server in which a state must have made its way: the server may have to tell a client that
// came back that it had been declared gone, and the client then speaks up again.
const ROUNDS = 3;

await scenario("awareness", async stage => {
    const everybody = await stage.join(["ann", "bob", "cyd"]);
    const [ann, bob, cyd] = everybody;
    for (const client of everybody) client.awareness.setLocalState({ user: client.name, cursor: null });
    await untilSeen(everybody);
    for (const client of everybody) client.awareness.setLocalStateField("cursor", { anchor: 3, head: client.id });
    await untilSeen(everybody);

    for (const client of everybody) {
        const { clock } = client.awareness.meta.get(client.id);
        await until(`the echo of ${client.name}'s state`, () => client.socket.heard.get(client.id)?.clock === clock);
    }

    // Nothing to say, and something again.
    bob.awareness.setLocalState(null);
    await untilGone(bob, [ann, cyd]);
    bob.awareness.setLocalState({ user: "bob", cursor: "back" });
    await untilSeen(everybody);

    // A goodbye.
    await bob.disconnect();
    await untilGone(bob, [ann, cyd]);

    // None. Others give up on it themselves after 30 s, for another reason.
    const reasons = [];
    ann.awareness.on("change", ({ removed }, reason) => removed.includes(cyd.id) && reasons.push(reason));
    cyd.cut({ forGood: true });
    await untilGone(cyd, [ann]);
    expectEqual("ann was told by the server that cyd is gone", reasons, [ann.provider]);

    const [dan] = await stage.join(["dan"]);
    dan.awareness.setLocalState({ user: "dan" });
    await untilSeen([ann, dan]);
    expectEqual("states dan knows of", [...dan.others.keys()], [ann.id]);

    // Cut and back: as soon as it moves, it is seen again.
    cyd.provider.connect();
    await cyd.synced();
    cyd.awareness.setLocalStateField("cursor", "moved");
    await settle([cyd, ann, dan]);
    for (const client of [ann, dan]) {
        expectEqual(`cyd as ${client.name} sees it`, client.others.get(cyd.id), { user: "cyd", cursor: "moved" });
    }

    // Nobody removes another one's state for long: who is declared gone by a stranger speaks up again.
    const { clock } = ann.awareness.meta.get(ann.id);
    dan.awareness.meta.set(ann.id, { clock, lastUpdated: Date.now() });
    dan.awareness.states.delete(ann.id);
    dan.awareness.emit("update", [{ added: [], updated: [], removed: [ann.id] }, "local"]); // sends `null`
    await until("ann to hear of its removal", () => ann.awareness.meta.get(ann.id).clock > clock);
    await untilSeen([ann, dan, cyd]);

    expectConnections([ann, dan]);
    expectConnections([cyd], 2);
    expect("bob to stay away", !bob.provider.wsconnected, bob.sockets.length);
    return "seen, echoed, removed with and without a goodbye, and back";
});

/** Waits until each of `clients` knows the others' states as they are. */
async function untilSeen(clients) {
    for (const client of clients) {
        for (const other of clients.filter(each => each !== client)) {
            await until(`${client.name} to see ${other.name}'s state`, () => {
                const [seen, is] = [client.others.get(other.id), other.awareness.getLocalState()];
                return JSON.stringify(seen) === JSON.stringify(is);
            });
        }
    }
}

function untilGone(gone, by) {
    return Promise.all(by.map(client => {
        return until(`${client.name} to see ${gone.name} gone`, () => !client.others.has(gone.id));
    }));
}

async function settle(clients) {
    for (let round = 0; round < ROUNDS; round++) {
        for (const client of clients) await client.settled();
    }
}
