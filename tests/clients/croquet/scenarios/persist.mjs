// A model saves its essence; a later session with other code or options (hence another session id), but the same
// app and session name (hence the same persistent id), must be started from it.

import { expect, expectEqual, expectSameLedger, firstOf, scenario } from "../lib.mjs";

const EVENTS = 20;
const VISIBLE_WITHIN_MS = 5000;

await scenario("persist", async stage => {
    const names = ["ann", "bob"];
    const hosts = await stage.join(names, { options: { generation: 0 } });
    await Promise.all(hosts.map(host => host.publish({ count: EVENTS })));
    const [{ clients: [first] }] = await expectSameLedger(hosts, { ann: EVENTS, bob: EVENTS });
    await hosts[0].save();
    const saved = await firstOf(hosts.map(host => host.until("save").then(() => host)));
    const { sockets: [{ saves: [url] }] } = await saved.report();

    // Nothing tells a client that its SAVE took effect: ask with one new session after another.
    const deadline = performance.now() + VISIBLE_WITHIN_MS;
    for (let generation = 1; ; generation++) {
        const [next] = await stage.join([`next${generation}`], { options: { generation } });
        const { clients: [client], sockets: [{ syncs: [sync] }], inits, downloads } = await next.report();
        expect("a session id other than the first", client.sessionId !== first.sessionId, client.sessionId);
        expectEqual("persistent id of the new session", client.persistentId, first.persistentId);
        if (!sync.persisted && performance.now() < deadline) continue;
        expectEqual(`SYNC of the new session, ${VISIBLE_WITHIN_MS} ms after the SAVE`,
            { url: sync.url, persisted: sync.persisted }, { url, persisted: true });
        expectEqual("downloads of the new session", downloads, [{ url, status: 200 }]);
        const [, , , digest] = first.events.at(-1);
        expectEqual("data given to Model.init", inits.persisted, { events: first.events.length, digest });
        return `session ${generation} after the SAVE was started from it`;
    }
});
