// A client that joins after a snapshot was uploaded must start from that snapshot plus the history behind it.

import { expect, expectConnections, expectEqual, expectSameLedger, firstOf, FULL_RATE_MS, scenario } from "../lib.mjs";

const SNAPSHOT_DEADLINE_MS = 40_000;
const ROUND = 30;

await scenario("late-join", async stage => {
    const names = ["ann", "bob", "cyd"];
    const hosts = await stage.join(names);
    const counts = Object.fromEntries(names.map(name => [name, 0]));
    const publishRound = () => {
        for (const name of names) counts[name] += ROUND;
        return Promise.all(hosts.map(host => host.publish({ count: ROUND, everyMs: FULL_RATE_MS })));
    };

    // A client calls for a snapshot after 5 s of simulation, counting 5 ms per message: about 1000 messages.
    let announced = false;
    const untilSnapshot = hosts.map(host => host.until("snapshot", undefined, SNAPSHOT_DEADLINE_MS));
    const snapshot = firstOf(untilSnapshot).then(() => { announced = true; });
    while (!announced) await Promise.race([publishRound(), snapshot]);
    // Events published after the SNAP and come back mean that the server has dealt with the SNAP.
    await publishRound();
    const before = await expectSameLedger(hosts, counts);
    expectConnections(before);
    const urls = before.flatMap(({ sockets }) => sockets.flatMap(({ snaps }) => snaps));

    const [late] = await stage.join(["dot"]);
    await publishRound();
    const reports = await expectSameLedger([...hosts, late], counts);
    expectConnections(reports);
    const { sockets: [{ syncs: [sync] }], downloads, inits } = reports.at(-1);
    expect(`the SYNC of the late client to carry a snapshot of ${urls}`, urls.includes(sync.url), sync);
    expectEqual("downloads of the late client", downloads, [{ url: sync.url, status: 200 }]);
    expectEqual("runs of Model.init in the late client", inits.count, 0);
    const [{ sockets: [{ recvs }] }] = before;
    expect(`a SYNC with only the end of the history of ${recvs}`, sync.messages < recvs / 2, sync.messages);
    return `late client took a snapshot and the last ${sync.messages} of ${recvs} messages`;
});
