// Whoever comes late, with an empty folder that it announces first or with files of its own, takes nothing from anybody.

import { EMPTY_ROOT, expectEqual, expectUndisturbed, scenario, untilAllHave, untilSame } from "../lib.mjs";

await scenario("late-join", async stage => {
    const files = { "a.txt": "of one", "d/b.txt": "of one, too" };
    const one = await stage.connect("one", { files });
    const empty = await stage.connect("empty");
    expectEqual("what it announced", empty.root, EMPTY_ROOT);
    await untilSame([one, empty], files);

    // Of a file that both have, both versions stay.
    const other = await stage.connect("other", { files: { "a.txt": "of other", "c.txt": "of other, too" } });
    const all = [one, empty, other];
    await untilAllHave(all, ["of one", "of one, too", "of other", "of other, too"]);
    expectEqual("files", Object.keys(one.files).length, 4);

    const silent = await stage.connect("silent", { isSilent: true });
    await untilSame([...all, silent]);
    expectUndisturbed([...all, silent]);
    return "nobody lost anything";
});
