// Two clients edit offline, never to be online at the same time again; a third had edited before it ever connected.
// All of it merges.

import { Editor } from "../edits.mjs";
import { expect, expectConnections, expectEqual, scenario, untilSame } from "../lib.mjs";

const EDITS = 100;

await scenario("offline", async stage => {
    const online = await stage.join(["ann", "bob", "cyd"]);
    const [ann, bob, cyd] = online;
    ann.text.insert(0, "The quick fox");
    ann.doc.getMap("map").set("by", "ann");
    await ann.settled();
    await untilSame(online);

    await Promise.all([ann, bob].map(client => client.disconnect()));
    const editor = new Editor(stage.seed);
    for (const [client, at, word] of [[ann, 4, "very "], [bob, 10, "brown "]]) {
        client.text.insert(at, word);
        client.doc.getMap("map").set("by", client.name); // in conflict
        for (let i = 0; i < EDITS; i++) editor.edit(client.doc);
        client.doc.getArray("ledger").push([client.name]);
    }
    const dan = stage.client("dan", { connect: false });
    dan.doc.getArray("ledger").push(["dan"]);

    await ann.reconnect();
    await ann.settled();
    const afterAnn = await untilSame([ann, cyd]);
    await ann.leave();
    await bob.reconnect();
    await bob.settled();
    await dan.reconnect();
    await dan.settled();
    const [eve] = await stage.join(["eve"]);
    const bytes = await untilSame([bob, cyd, dan, eve]);

    expect("bob's edits to change the document", !bytes.equals(afterAnn), bytes.length);
    expectEqual("ledger", eve.doc.getArray("ledger").toArray().sort(), ["ann", "bob", "dan"]);
    expect("one winner of the conflict, the same everywhere", ["ann", "bob"].includes(by(eve)), by(eve));
    expectConnections([cyd, dan, eve]);
    expectConnections([bob], 2);
    return `${EDITS * 2} offline edits of two clients merged`;
});

function by(client) {
    return client.doc.getMap("map").get("by");
}
