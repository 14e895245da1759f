// Clients that lie, talk nonsense, stay silent or flood trouble nobody else: two others go on with their files.

import { randomBytes } from "node:crypto";
import { blobId, expectUndisturbed, HANDLERS, NO_ANSWER, ROUTE, scenario, TREE, untilAllHave, untilSame } from "../lib.mjs";

const FLOOD = 3000;
const wrongRow = { id: ".", isParent: false, meta: {} };

/** How each answers what the server asks of it. None gives the rows of its tree away. */
const LIARS = {
    "other rows": { readRows: agent => ({ [TREE]: { _type: "trees", _data: [...agent.rows.values()].slice(0, 1) } }) },
    "wrong hashes": { readRows: (_, { where }) => ({ [TREE]: { _type: "trees", _data: [{ ...wrongRow, ...where }] } }) },
    "no rows": { readRows: () => ({ [TREE]: { _type: "trees", _data: [] } }) },
    "errors": { readRows: () => { throw new Error("no"); } },
    "nonsense": { readRows: () => 5, getBlob: () => "x", getBlobProperties: () => [[]], blobExists: () => ({}) },
    "nothing": { readRows: () => null, getBlob: () => null, getBlobProperties: () => null },
    "silence": { readRows: () => NO_ANSWER, getBlob: () => NO_ANSWER, getBlobProperties: () => NO_ANSWER },
};

await scenario("hostile", async stage => {
    const one = await stage.connect("one", { files: { "a.txt": "a" } });
    const two = await stage.connect("two");
    const both = [one, two];
    // What liars announce cannot be had.
    for (const agent of both) agent.mayFail = true;
    await untilSame(both);
    const texts = ["a"];

    for (const [name, handlers] of Object.entries(LIARS)) {
        const liar = await stage.connect(name, { isSilent: true, files: { "lie.txt": randomBytes(6).toString("hex") } });
        liar.mayFail = true;
        liar.handlers = { ...HANDLERS, ...handlers };
        liar.announce();
        await goesOn(`beside ${name}`);
        liar.disconnect();
        await goesOn(`after ${name}`);
    }

    const flooder = await stage.connect("flooder", { isSilent: true });
    flooder.mayFail = true;
    for (let n = 0; n < FLOOD; n++) flooder.socket.emit(ROUTE, { o: `flood${n % 50}`, r: blobId(String(n)) });
    await goesOn("beside a flood of refs");
    for (let n = 0; n < FLOOD; n++) flooder.socket.emit(`${ROUTE}:ack:client`, { r: blobId(String(n)) });
    for (const payload of [null, 5, "x", [], {}, { r: 5 }, { r: "" }, { r: "x".repeat(1000) }, { r: one.root, __origin: "me" }]) {
        for (const kind of ["", ":ack:client", ":gapfill:req", ":ack", ":bootstrap", ":gapfill:res"]) {
            flooder.socket.emit(`${ROUTE}${kind}`, payload);
        }
    }
    flooder.socket.emit(ROUTE);
    await goesOn("beside nonsense");
    flooder.disconnect();
    await goesOn("in the end");
    expectUndisturbed(both);
    return `${texts.length} files came through`;

    /** Both write something, and both get it. */
    async function goesOn(when) {
        for (const agent of both) {
            texts.push(`${agent.name} ${when}`);
            agent.edit(`${agent.name} ${when}.txt`, texts.at(-1));
        }
        await untilAllHave(both, texts);
    }
});
