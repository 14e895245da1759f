// Five megabytes in one transaction: to whoever is there, to whoever comes late, and from a client that was offline.

import * as prng from "lib0/prng";
import { expect, expectConnections, expectEqual, LONG_DEADLINE_MS, scenario, untilSame } from "../lib.mjs";

const BYTES = 5_000_000;

await scenario("large-document", async stage => {
    const [ann, bob] = await stage.join(["ann", "bob"]);
    const written = words(stage.random, BYTES);
    ann.text.insert(0, written);
    await ann.settled(LONG_DEADLINE_MS);
    const bytes = await untilSame([ann, bob], LONG_DEADLINE_MS);
    expect(`more than ${BYTES} bytes`, bytes.length > BYTES, bytes.length);

    const [cyd] = await stage.join(["cyd"]);
    await untilSame([ann, bob, cyd], LONG_DEADLINE_MS);
    expect("the late client to have read what was written", cyd.text.toString() === written, cyd.text.length);

    // Again as much from one that was away: it goes out as the answer to the server's question.
    await cyd.disconnect();
    cyd.doc.getMap("map").set("blob", new Uint8Array(BYTES).fill(7));
    cyd.text.delete(0, BYTES / 2);
    await cyd.reconnect();
    await cyd.settled(LONG_DEADLINE_MS);
    await untilSame([ann, bob, cyd], LONG_DEADLINE_MS);
    expectEqual("characters left", ann.text.length, BYTES / 2);

    expectConnections([ann, bob]);
    expectConnections([cyd], 2);
    return `${bytes.length} bytes in one transaction, live, late and from offline`;
});

function words(random, length) {
    let text = "";
    while (text.length < length) text += `${prng.word(random, 3, 12)} `;
    return text.slice(0, length);
}
