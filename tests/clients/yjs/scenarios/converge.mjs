// Six clients edit everything at once; the connections of four are cut, and they are away at times. In the end all have
// the same document, with every entry that was ever added to the ledger in it once, and so does a late joiner.

import { setTimeout as pause } from "node:timers/promises";
import { Editor } from "../edits.mjs";
import { expect, expectConnections, expectEqual, scenario, until, untilSame } from "../lib.mjs";

const NAMES = ["ann", "bob", "cyd", "dan", "eve", "fay"];
// Whoever reconnects is told all that it has missed; these would notice the loss of a single message.
const STEADY = ["ann", "bob"];
const EDITS_EACH = 200;
const PAUSE_MAX_MS = 8;

await scenario("converge", async stage => {
    const clients = await stage.join(NAMES);
    await Promise.all(clients.map((client, i) => work(client, new Editor(stage.seed + i))));
    await Promise.all(clients.map(client => client.settled()));
    const bytes = await untilSame(clients);

    const [late] = await stage.join(["late"]);
    await untilSame([...clients, late]);
    const total = NAMES.length * EDITS_EACH;
    const everything = NAMES.flatMap(name => Array.from({ length: EDITS_EACH }, (_, n) => `${name} ${n}`));
    expectEqual("entries of the ledger, sorted", ledger(late).toArray().sort(), everything.sort());
    for (const client of clients) expectConnections([client], client.connections);
    expectConnections([late]);
    const reconnects = clients.reduce((sum, { connections }) => sum + connections - 1, 0);
    expect("some reconnects", reconnects > 0, reconnects);
    return `${NAMES.length + 1} documents of ${bytes.length} bytes agree after ${total} edits, ${reconnects} reconnects`;
});

function ledger(client) {
    return client.doc.getArray("ledger");
}

async function work(client, editor) {
    client.connections = 1;
    for (let n = 0; n < EDITS_EACH; n++) {
        editor.edit(client.doc);
        ledger(client).push([`${client.name} ${n}`]); // never deleted: none may be missing
        if (editor.chance(50)) await pause(editor.below(PAUSE_MAX_MS)); // sets the rate
        if (STEADY.includes(client.name)) continue;
        if (editor.chance(2)) await beCut(client);
        else if (editor.chance(2)) await beAway(client, editor);
    }
}

/** Only the cut itself is waited for: edits go on while the provider reconnects. */
async function beCut(client) {
    if (!client.provider.wsconnected) return;
    const { socket } = client;
    client.connections++;
    client.cut();
    await until(`${client.name} to be cut`, () => socket.closed !== null);
}

async function beAway(client, editor) {
    await client.synced();
    client.connections++;
    await client.disconnect();
    for (let i = editor.below(10); i > 0; i--) editor.edit(client.doc);
    await client.reconnect();
}
