// The server is restarted, in good order or not, while clients write. Protocol: this prints READY-FOR-RESTART, whoever
// runs it restarts the server at the same address and writes RESTARTED to standard input. Two rooms:
// - in `left` all old clients are gone for good when the server comes back; what it had *sent* to one that only
//   watched, a fresh client finds;
// - in `kept` the clients continue by themselves, edits made meanwhile included.

import { setTimeout as pause } from "node:timers/promises";
import { Editor } from "../edits.mjs";
import { breathe, DEADLINE_MS, expectConnections, expectContains, expectEqual, scenario, until, untilSame } from "../lib.mjs";
import { canonical } from "../state.mjs";

const EDITS_BEFORE = 1500;
const EDITS_MEANWHILE = 50;
// What the watcher has been sent of those who write until they are cut, when the restart is asked for.
const UNDER_WAY = 100;
// Sets the rate of those who write until they are cut.
const EVERY_MS = 2;

await scenario("restart", async stage => {
    const room = `${stage.run}-left`;
    const writers = await stage.join(["ann", "bob"], { room });
    const [watcher] = await stage.join(["watcher"], { room });
    const kept = await stage.join(["cyd", "dan"]);
    for (const [i, client] of [...writers, ...kept].entries()) await edit(client, stage.seed + i, EDITS_BEFORE);
    await Promise.all([...writers, ...kept].map(client => client.settled()));
    await untilSame([...writers, watcher]);

    const keptMeanwhile = kept.map(async (client, i) => {
        await untilCut(client);
        await edit(client, stage.seed + 10 + i, EDITS_MEANWHILE);
        ledger(client).push([client.name]);
    });
    for (const client of [...writers, watcher]) stayAwayOnceCut(client);
    const writing = writers.map((client, i) => writeUntilCut(client, new Editor(stage.seed + 20 + i)));
    const { updatesIn } = watcher.socket;
    await until("the watcher to be sent what is written", () => watcher.socket.updatesIn >= updatesIn + UNDER_WAY);
    await stage.restart(() => Promise.all([...writing, untilCut(watcher), ...keptMeanwhile]));

    const [fresh] = await stage.join(["fresh"], { room });
    expectContains("what was sent before the restart", fresh.doc, watcher.doc);
    // A room that was recovered can be edited on.
    ledger(fresh).push(["fresh"]);
    const [later] = await stage.join(["later"], { room });
    await untilSame([fresh, later]);

    await Promise.all(kept.map(client => client.settled(DEADLINE_MS)));
    for (const client of kept) ledger(client).push([`${client.name} again`]);
    await Promise.all(kept.map(client => client.settled()));
    const [eve] = await stage.join(["eve"]);
    const bytes = await untilSame([...kept, eve]);
    const entries = ["cyd", "cyd again", "dan", "dan again"];
    expectEqual("ledger", ledger(eve).toArray().sort(), entries);

    expectConnections([fresh, later, eve]);
    const sent = canonical(watcher.doc).length;
    return `${sent} bytes sent before the restart were there after it; clients went on with ${bytes.length} bytes`;
});

function ledger(client) {
    return client.doc.getArray("ledger");
}

async function edit(client, seed, count) {
    const editor = new Editor(seed);
    for (let i = 0; i < count; i++) {
        editor.edit(client.doc);
        await breathe(client);
    }
}

async function writeUntilCut(client, editor) {
    while (client.provider.wsconnected) {
        editor.edit(client.doc);
        await pause(EVERY_MS);
    }
}

function untilCut(client) {
    const { socket } = client;
    return until(`${client.name} to be cut`, () => socket.closed !== null);
}

/** Lest it gives back what the server has lost. */
function stayAwayOnceCut(client) {
    client.provider.on("connection-close", () => { client.provider.shouldConnect = false; });
}
