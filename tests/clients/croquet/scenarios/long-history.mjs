// A history of more than a million characters and no snapshot: the SYNC of a late client comes in chunks.

import { expect, expectConnections, expectSameLedger, FULL_RATE_MS, scenario } from "../lib.mjs";

const EVENTS = 40;
const PADDING_BYTES = 15_000; // the SDK refuses events above 16 KiB; encrypted, this is about 20 000 characters

await scenario("long-history", async stage => {
    const names = ["ann", "bob"];
    const hosts = await stage.join(names);
    const counts = { ann: EVENTS, bob: EVENTS };
    const plan = { count: EVENTS, everyMs: FULL_RATE_MS, paddingBytes: PADDING_BYTES };
    await Promise.all(hosts.map(host => host.publish(plan)));
    await expectSameLedger(hosts, counts);
    const late = await stage.join(["cyd"]);
    const reports = await expectSameLedger([...hosts, ...late], counts);
    expectConnections(reports);
    const { sockets: [{ chunks, bytesIn }] } = reports.at(-1);
    expect("the SYNC of the late client to come in two chunks or more", chunks >= 2, chunks);
    return `late client read ${bytesIn} bytes, ${chunks} of its frames chunks`;
});
