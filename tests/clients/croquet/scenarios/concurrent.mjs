// Three clients publish at once: every replica must end with the same events in the same order, on one connection.

import { expectConnections, expectSameLedger, FULL_RATE_MS, scenario } from "../lib.mjs";

const PACED = 100;  // one by one: one SEND each
const BURST = 20;   // all at once: the SDK bundles them

await scenario("concurrent", async stage => {
    const names = ["ann", "bob", "cyd"];
    const hosts = await stage.join(names);
    await Promise.all(hosts.map(host => host.publish({ count: PACED, everyMs: FULL_RATE_MS })));
    await Promise.all(hosts.map(host => host.publish({ count: BURST })));
    const reports = await expectSameLedger(hosts, Object.fromEntries(names.map(name => [name, PACED + BURST])));
    expectConnections(reports);
    return `${names.length} clients agree on ${names.length * (PACED + BURST)} events`;
});
