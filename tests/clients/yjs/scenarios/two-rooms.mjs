// Rooms hear nothing of each other, neither documents nor awareness; a room below another one is a room of its own.

import { expectConnections, expectEqual, scenario, untilSame } from "../lib.mjs";

const EDITS = 100;

await scenario("two-rooms", async stage => {
    const rooms = [stage.run, `${stage.run}-2`, `${stage.run}/below`];
    const pairs = await Promise.all(rooms.map((room, i) => stage.join([`ann${i}`, `bob${i}`], { room })));
    const everybody = pairs.flat();
    for (let n = 0; n < EDITS; n++) {
        for (const client of everybody) client.doc.getArray("heard").push([`${client.room} ${client.name} ${n}`]);
    }
    for (const client of everybody) client.awareness.setLocalState({ room: client.room });
    await Promise.all(everybody.map(client => client.settled()));
    for (const pair of pairs) await untilSame(pair);
    // Once more: what had strayed would have been sent by now.
    await Promise.all(everybody.map(client => client.settled()));

    for (const [i, pair] of pairs.entries()) {
        for (const client of pair) {
            const heard = client.doc.getArray("heard").toArray().map(entry => entry.split(" ")[0]);
            expectEqual(`rooms ${client.name} heard of`, [...new Set(heard)], [rooms[i]]);
            expectEqual(`edits ${client.name} heard of`, heard.length, 2 * EDITS);
            const states = [...client.awareness.getStates().values()];
            expectEqual(`states ${client.name} knows of`, states, Array(2).fill({ room: rooms[i] }));
        }
    }
    expectConnections(everybody);
    return `${2 * EDITS} edits in each of ${rooms.length} rooms, none strayed`;
});
