// A document without clients: whoever comes next finds it, written by one who was alone and left, and again after each
// of several restarts of the server with nobody there. With --unload, this prints READY-FOR-UNLOAD while nobody is
// there, and goes on when whoever runs it knows the document to be out of memory and writes UNLOADED.

import { Editor } from "../edits.mjs";
import { DEADLINE_MS, expect, expectConnections, expectEqual, scenario, untilLine } from "../lib.mjs";
import { canonical } from "../state.mjs";

const RESTARTS = 2;
const EDITS = 400;

await scenario("cold", async (stage, { unload }) => {
    const absences = ["left alone", ...(unload ? ["unloaded"] : []), ...Array(RESTARTS).fill("restarted")];
    const editor = new Editor(stage.seed);
    let known = null;
    let edits = 0;
    for (const [i, absence] of absences.entries()) {
        const [client] = await stage.join([`writer${i}`]);
        if (known) expectEqual(`document found, ${absences[i - 1]} before, to be as it was left`, same(client, known), true);
        for (let n = 0; n < EDITS; n++, edits++) editor.edit(client.doc);
        await client.settled(); // nobody else is there to have been sent anything
        known = canonical(client.doc);
        expectConnections([client]);
        await client.leave();
        if (absence === "unloaded") await untilUnloaded();
        if (absence === "restarted") await stage.restart();
    }

    const [reader] = await stage.join(["reader"]);
    expectEqual("the document to be as it was left", same(reader, known), true);
    expectEqual("states of clients that are gone", reader.others.size, 0);
    expect("a document worth the name", known.length > EDITS, known.length);
    return `${known.length} bytes of ${edits} edits were there each time: ${absences.join(", ")}`;
}, { options: { unload: { type: "boolean" } } });

function same(client, bytes) {
    return canonical(client.doc).equals(bytes);
}

async function untilUnloaded() {
    console.log("READY-FOR-UNLOAD");
    await untilLine("UNLOADED", DEADLINE_MS);
}
