// The server is restarted under a running session. Protocol: this prints READY-FOR-RESTART, whoever runs it restarts
// the server at the same address and writes RESTARTED to standard input. The clients must come back to the same
// timeline without a reboot, and a newcomer must find the history from before the restart.

import { expect, expectNoReboot, expectSameLedger, FULL_RATE_MS, scenario, untilLine } from "../lib.mjs";

const BEFORE = 50;
const INTO_THE_GAP = 5;
const AFTER = 50;
// Between attempts the client waits longer and longer, up to 30 s.
const RECONNECT_DEADLINE_MS = 60_000;

await scenario("restart", async stage => {
    const names = ["ann", "bob", "cyd"];
    const counts = count => Object.fromEntries(names.map(name => [name, count]));
    const hosts = await stage.join(names, { rejoinLimit: 60_000 }); // the most the SDK allows
    await Promise.all(hosts.map(host => host.publish({ count: BEFORE, everyMs: FULL_RATE_MS })));
    await expectSameLedger(hosts, counts(BEFORE));

    console.log("READY-FOR-RESTART");
    await Promise.all(hosts.map(host => host.until("interrupted", undefined, RECONNECT_DEADLINE_MS)
        .then(() => host.publish({ count: INTO_THE_GAP }))));
    await untilLine("RESTARTED", RECONNECT_DEADLINE_MS);

    await Promise.all(hosts.map(host => host.until("connections", 2, RECONNECT_DEADLINE_MS)));
    await Promise.all(hosts.map(host => host.publish({ count: AFTER, everyMs: FULL_RATE_MS })));
    const total = BEFORE + INTO_THE_GAP + AFTER;
    await expectSameLedger(hosts, counts(total));
    const newcomers = await stage.join(["dot"]);
    const reports = await expectSameLedger([...hosts, ...newcomers], counts(total));

    reports.forEach(expectNoReboot);
    const syncs = reports.flatMap(({ sockets }) => sockets.flatMap(socket => socket.syncs));
    const timelines = [...new Set(syncs.map(({ timeline }) => timeline))];
    expect("one timeline throughout", timelines.length === 1 && timelines[0], timelines);
    return `${names.length} clients and a newcomer agree on ${names.length * total} events across the restart`;
}, { deadlineMs: 240_000 });
