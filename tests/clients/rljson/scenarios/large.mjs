// A file of 5 MB goes from one to the other, and is there in ranges when its origin is gone.

import { randomBytes } from "node:crypto";
import { blobId, expect, expectEqual, expectUndisturbed, RANGE_BYTES, scenario, untilSame } from "../lib.mjs";

const LARGE_BYTES = 5 << 20;

await scenario("large", async stage => {
    const content = randomBytes(LARGE_BYTES);
    const id = blobId(content);
    const one = await stage.connect("one");
    one.edit("large.bin", content);
    one.edit("small.bin", randomBytes(1000));
    const two = await stage.connect("two");
    await untilSame([one, two]);
    expect("the same bytes", two.blobs.get(id)?.equals(content), two.files.length);
    const asked = one.asked.filter(([event, blob]) => event === "getBlob" && blob === id);
    const ranges = asked.map(([, , options]) => options?.range ?? { start: 0, end: LARGE_BYTES });
    expect("no more at a time than clients ask", ranges.every(({ start, end }) => end - start <= RANGE_BYTES), ranges);
    expectUndisturbed([one, two]);
    one.disconnect();

    const three = await stage.connect("three", { isSilent: true });
    const properties = await three.askBlob("getBlobProperties", id);
    expectEqual("properties", [properties.blobId, properties.size], [id, LARGE_BYTES]);
    expect("a time", !Number.isNaN(Date.parse(properties.createdAt)), properties);
    expectEqual("there", await three.askBlob("blobExists", id), true);
    for (const [start, end] of [[0, 1], [RANGE_BYTES - 1, RANGE_BYTES + 1], [LARGE_BYTES - 7, LARGE_BYTES]]) {
        const part = await three.askBlob("getBlob", id, { range: { start, end } });
        expect(`bytes ${start} to ${end}`, content.subarray(start, end).equals(Buffer.from(part.content)), part);
    }
    await untilSame([two, three]);
    return `${LARGE_BYTES} bytes in ${ranges.length} ranges`;
});
