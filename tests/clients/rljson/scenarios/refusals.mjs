// Whatever is asked is answered, in the convention of what is asked: of tables the error comes last, of blobs first; it
// has a message. What would change or end the server for others does nothing.

import { blobId, expect, expectEqual, expectUndisturbed, scenario, TREE, untilSame } from "../lib.mjs";

const NOT_THERE = blobId("not there");

await scenario("refusals", async stage => {
    const one = await stage.connect("one", { files: { "a.txt": "a" } });
    const two = await stage.connect("two", { acks: true });
    await untilSame([one, two]);

    for (const [event, ...args] of [
        ["readRows", { table: "nothingTree", where: { _hash: NOT_THERE } }],
        ["readRows"], ["readRows", null], ["readRows", { table: 5, where: [] }],
        ["write", { data: { [TREE]: { _type: "trees", _data: [] } } }],
        ["createOrExtendTable", { tableCfg: { key: "newTree", type: "trees", columns: [] } }],
        ["fly"], ["__proto__"],
    ]) {
        const [result, error] = await two.request(event, ...args);
        expectEqual(`result of ${event} ${JSON.stringify(args)}`, result, null);
        expect(`a message from ${event}`, typeof error?.message === "string" && error.message, error);
    }
    for (const [event, ...args] of [
        ["getBlob", NOT_THERE, null], ["getBlob"], ["getBlob", 5], ["getBlob", NOT_THERE, { range: { start: -1, end: 1e300 } }],
        ["getBlobProperties", NOT_THERE], ["getBlobStream", NOT_THERE], ["deleteBlob", NOT_THERE],
        ["setBlob", Buffer.from("new")],
    ]) {
        const answer = await two.request(event, ...args);
        expect(`a message from ${event} ${JSON.stringify(args)}`, typeof answer[0]?.message === "string", answer);
    }
    const [missing] = await two.request("getBlob", NOT_THERE, null);
    expect("the text that clients look for", missing.message.includes("Blob not found"), missing);
    const [, unknown] = await two.request("fly");
    expect("the text that clients look for", unknown.message.includes('Method "fly" not found on Io instance'), unknown);
    expectEqual("rows that nobody has", (await two.ask("readRows", { table: TREE, where: { _hash: NOT_THERE } }))[TREE]._data, []);
    expectEqual("a blob that nobody has", await two.askBlob("blobExists", NOT_THERE), false);
    expectEqual("tables", await two.ask("rawTableCfgs"), []);
    for (const event of ["init", "isReady", "close"]) expectEqual(event, await two.ask(event), null);
    expectEqual("isOpen", await two.ask("isOpen"), true);

    // All go on.
    two.edit("b.txt", "b");
    await untilSame([one, two], { "a.txt": "a", "b.txt": "b" });
    expectUndisturbed([one, two]);
    return "all was answered, and nothing came of it";
});
