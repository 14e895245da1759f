// One client loses its connection without a word while the others go on. Back within its rejoin limit it must carry
// on with the same model and view, miss nothing, and the others must never see it leave.

import { expectConnections, expectEqual, expectNoReboot, expectSameLedger, FULL_RATE_MS, scenario } from "../lib.mjs";

const BEFORE = 40;
const MEANWHILE = 60;
const INTO_THE_GAP = 5;
const AFTER = 20;
// The server has to hold back the leave for this long (+ 250 ms); the scenario waits for it to be announced.
const REJOIN_LIMIT_MS = 3000;

await scenario("rejoin", async stage => {
    const hosts = await stage.join(["ann", "bob", "cyd"], { rejoinLimit: REJOIN_LIMIT_MS });
    const [ann, bob, victim] = hosts;
    await Promise.all(hosts.map(host => host.publish({ count: BEFORE, everyMs: FULL_RATE_MS })));
    // All of the victim's events must be back, lest the cut lose one on its way: that would not be the server's fault.
    await expectSameLedger(hosts, { ann: BEFORE, bob: BEFORE, cyd: BEFORE });

    await Promise.all([
        ann.publish({ count: MEANWHILE, everyMs: FULL_RATE_MS }),
        bob.publish({ count: MEANWHILE, everyMs: FULL_RATE_MS }),
        victim.cut({ publish: INTO_THE_GAP }).then(() => victim.until("connections", 2)),
    ]);
    await victim.publish({ count: AFTER, everyMs: FULL_RATE_MS });
    const other = BEFORE + MEANWHILE;
    const counts = { ann: other, bob: other, cyd: BEFORE + INTO_THE_GAP + AFTER };
    const [, , { clients: [{ viewId }] }] = await expectSameLedger(hosts, counts);

    await Promise.all(hosts.map(host => host.until("left", viewId)));
    const reports = await expectSameLedger(hosts, counts);
    expectConnections(reports.slice(0, 2), 1);
    expectConnections(reports.slice(2), 2);
    reports.forEach(expectNoReboot);
    const [first, second] = reports[2].sockets;
    expectEqual("timeline after the rejoin", second.syncs[0].timeline, first.syncs[0].timeline);
    for (const { clients: [{ name, presence }] } of reports) {
        const seen = presence.map(([, what]) => what);
        expectEqual(`joins and exits seen by the model of ${name}`, seen, ["join", "join", "join"]);
    }
    return `seamless, ${INTO_THE_GAP} events published into the gap arrived`;
});
