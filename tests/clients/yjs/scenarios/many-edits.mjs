// A hundred thousand keystrokes, each a transaction and a message of its own, while another client follows.

import * as Y from "yjs";
import { Typist } from "../edits.mjs";
import { breathe, expect, expectConnections, LONG_DEADLINE_MS, scenario, until, untilSame } from "../lib.mjs";

const KEYSTROKES = 100_000;
const AT_ONCE = 50;
// The follower may be behind, but not so far that it would be caught up by other means than following.
const BEHIND_MAX = 5000;

await scenario("many-edits", async stage => {
    const [ann, bob] = await stage.join(["ann", "bob"]);
    const typist = new Typist(stage.seed, ann.text);
    const heard = () => Y.getState(bob.doc.store, ann.id);
    let wanted = 0;
    for (let n = 0; n < KEYSTROKES; n++) {
        typist.type();
        if (n % AT_ONCE === 0) await breathe(ann);
        if (n % BEHIND_MAX === 0) {
            await until(`bob to have heard of ${wanted} characters`, () => heard() >= wanted, LONG_DEADLINE_MS);
            wanted = Y.getState(ann.doc.store, ann.id);
        }
    }
    await ann.settled(LONG_DEADLINE_MS);
    const bytes = await untilSame([ann, bob], LONG_DEADLINE_MS);
    const { updatesIn } = bob.socket;
    expect("no more messages than keystrokes to bob", updatesIn <= KEYSTROKES + 1, updatesIn);

    const [cyd] = await stage.join(["cyd"]);
    await untilSame([ann, bob, cyd], LONG_DEADLINE_MS);
    expect("bob and cyd to read the same", bob.text.toString() === cyd.text.toString(), cyd.text.length);
    expectConnections([ann, bob, cyd]);
    return `${KEYSTROKES} keystrokes came in ${updatesIn} messages and make ${bytes.length} bytes`;
}, { deadlineMs: 3 * LONG_DEADLINE_MS });
