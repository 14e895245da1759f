// Some editors cut a character in two: what is inserted between the halves of a surrogate pair makes two replacement
// characters of them. The room must go on, and the server's lengths must stay right for what is deleted later.

import { expectConnections, expectEqual, scenario, untilSame } from "../lib.mjs";

const SMILES = 20;

await scenario("surrogates", async stage => {
    const [ann, bob] = await stage.join(["ann", "bob"]);
    ann.text.insert(0, "🙂".repeat(SMILES));
    await ann.settled();
    await untilSame([ann, bob]);
    for (let i = SMILES - 1; i >= 0; i--) bob.text.insert(2 * i + 1, "|"); // each pair is cut
    await bob.settled();
    await untilSame([ann, bob]);
    expectEqual("ann's text", ann.text.toString(), "\ufffd|\ufffd".repeat(SMILES));
    const [cyd] = await stage.join(["cyd"]);
    expectEqual("the late client's text", cyd.text.toString(), ann.text.toString());

    ann.text.delete(0, 3 * SMILES - 1);
    await ann.settled();
    bob.text.insert(1, "!");
    await bob.settled();
    const [dan] = await stage.join(["dan"]);
    const everybody = [ann, bob, cyd, dan];
    await untilSame(everybody);
    expectEqual("the late client's text", dan.text.toString(), "\ufffd!");
    expectConnections(everybody);
    return `${SMILES} characters were cut in two, and the room went on`;
});
