// Two sessions at once: neither events nor anything else of one may reach clients of the other.

import { expect, expectConnections, expectEqual, expectSameLedger, FULL_RATE_MS, scenario } from "../lib.mjs";

const EVENTS = 60;

await scenario("isolated", async stage => {
    const [red, blue] = await Promise.all(["red", "blue"].map(async color => {
        const names = [`${color}-ann`, `${color}-bob`];
        return { names, hosts: await stage.join(names, { name: `${stage.run}-${color}` }) };
    }));
    const everybody = [...red.hosts, ...blue.hosts];
    await Promise.all(everybody.map(host => host.publish({ count: EVENTS, everyMs: FULL_RATE_MS })));
    const ids = [];
    for (const { names, hosts } of [red, blue]) {
        const reports = await expectSameLedger(hosts, Object.fromEntries(names.map(name => [name, EVENTS])));
        expectConnections(reports);
        const [{ clients: [{ sessionId }] }] = reports;
        for (const { sockets: [{ sessions }] } of reports) {
            expectEqual("sessions heard of on a socket", sessions, [sessionId]);
        }
        ids.push(sessionId);
    }
    expect("two different sessions", ids[0] !== ids[1], ids);
    return `${EVENTS * 2} events in each session, none strayed`;
});
