// Fifty clients in one session, each publishing at a leisurely rate: all replicas agree, nobody reconnects.

import { expectConnections, expectSameLedger, scenario } from "../lib.mjs";

const PROCESSES = 5;
const CLIENTS_EACH = 10;
const EVENTS_EACH = 10;
const EVERY_MS = 500;

await scenario("fifty", async stage => {
    const numbers = count => Array.from({ length: count }, (_, i) => i);
    const names = numbers(PROCESSES).map(p => numbers(CLIENTS_EACH).map(c => `p${p}c${c}`));
    const hosts = await stage.join(names);
    await Promise.all(hosts.map(host => host.publish({ count: EVENTS_EACH, everyMs: EVERY_MS })));
    const reports = await expectSameLedger(hosts, Object.fromEntries(names.flat().map(name => [name, EVENTS_EACH])));
    expectConnections(reports);
    return `${names.flat().length} clients agree on ${names.flat().length * EVENTS_EACH} events`;
});
