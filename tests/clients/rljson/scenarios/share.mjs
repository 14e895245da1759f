// Folders follow each other: files written, changed and deleted by one are so with the others; an edit of what was just
// received makes no second file of it; who comes when nobody who has the files is there still gets them.

import { COPY, expect, expectEqual, expectUndisturbed, ROUTE, scenario, untilSame } from "../lib.mjs";

await scenario("share", async stage => {
    const files = { "d/deep.txt": "deep", "d/e/deeper.txt": "deeper", "empty.txt": "", "notes.txt": "one" };
    const one = await stage.connect("one", { files });
    const two = await stage.connect("two");
    const both = [one, two];
    await untilSame(both, files);

    one.edit("notes.txt", "two");
    await untilSame(both, { ...files, "notes.txt": "two" });
    // At once, as a person would not.
    two.edit("notes.txt", "three");
    await untilSame(both, { ...files, "notes.txt": "three" });
    one.edit("new.txt", "new");
    one.edit("other.txt", "other");
    await untilSame(both, { ...files, "new.txt": "new", "notes.txt": "three", "other.txt": "other" });
    two.edit("new.txt");
    two.edit("d/e/deeper.txt");
    two.edit("notes.txt", "four");
    const last = { "d/deep.txt": "deep", "empty.txt": "", "notes.txt": "four", "other.txt": "other" };
    await untilSame(both, last);
    expect("no copies", !Object.keys(one.files).some(path => COPY.test(path)), one.files);
    expectUndisturbed(both);

    // Nobody is told its own, and nobody in the name of nobody.
    for (const { name, origin, told } of both) {
        const refs = told.filter(([event]) => event === ROUTE).map(([, payload]) => payload);
        expectEqual(`own refs told to ${name}`, refs.filter(({ o }) => o === origin), []);
        expect("an __origin in each", refs.every(({ __origin }) => typeof __origin === "string"), refs);
    }
    for (const agent of both) agent.disconnect();
    const late = await stage.connect("late", { isSilent: true });
    await untilSame([late], last);
    return "everybody has the same files, also when nobody is there to ask for them";
});
