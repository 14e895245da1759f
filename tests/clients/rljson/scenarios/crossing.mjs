// Changes that are announced at the same time are merged, and both are told.

import { COPY, expect, expectEqual, expectUndisturbed, scenario, untilAllHave, untilSame } from "../lib.mjs";

const ROUNDS = 5;

await scenario("crossing", async stage => {
    const one = await stage.connect("one", { files: { "base.txt": "base", "gone.txt": "gone", "kept.txt": "kept" } });
    const two = await stage.connect("two");
    const both = [one, two];
    await untilSame(both);

    for (let round = 1; round <= ROUNDS; round++) {
        one.edit(`d${round}/one.txt`, `one ${round}`);
        two.edit(`d${round}/two.txt`, `two ${round}`);
        await untilAllHave(both, [`one ${round}`, `two ${round}`]);
    }
    expect("no copies", !Object.keys(one.files).some(path => COPY.test(path)), one.files);

    // The same file.
    one.edit("base.txt", "base of one");
    two.edit("base.txt", "base of two");
    await untilAllHave(both, ["base of one", "base of two"]);
    expectEqual("copies", Object.keys(one.files).filter(path => COPY.test(path)).length, 1);

    // An edit stays, a deletion of what nobody edited goes through.
    one.edit("kept.txt");
    one.edit("gone.txt");
    two.edit("kept.txt", "kept by two");
    await untilAllHave(both, ["kept by two"]);
    expectEqual("files", [one.files["kept.txt"], one.files["gone.txt"]], ["kept by two", undefined]);

    // Three at once.
    const three = await stage.connect("three", { files: { "three.txt": "three" } });
    const all = [one, two, three];
    await untilAllHave(all, ["three"]);
    for (const agent of all) agent.edit("x.txt", `x of ${agent.name}`);
    await untilAllHave(all, all.map(({ name }) => `x of ${name}`));
    expectUndisturbed(all);
    return `${ROUNDS + 3} times everybody got what all had changed`;
});
