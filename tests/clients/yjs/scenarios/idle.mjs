// Idle clients, in real time (a minute): y-websocket hangs up when it has heard nothing for 30 s. A lone client lives
// off the echo of its own state, which it renews every 15 s; one without a state must be sent something. A state that
// is not renewed is declared gone by the server.

import * as encoding from "lib0/encoding";
import { changed, complain, expectConnections, scenario, until } from "../lib.mjs";
import { countedWebSocket, MESSAGE } from "../wire.mjs";

const DEADLINE_MS = 120_000;
const RENEWALS = 3; // 45 s
const FRAMES = 2; // at most 20 s apart, so 40 s

await scenario("idle", async stage => {
    const [lone] = await stage.join(["lone"], { room: `${stage.run}-lone` });
    const [mute] = await stage.join(["mute"], { room: `${stage.run}-mute` });
    mute.awareness.setLocalState(null);
    await until("the mute client's goodbye to have come round", () => mute.socket.heard.get(mute.id)?.state === null);
    const framesBefore = mute.socket.framesIn;

    await Promise.all([
        until("the echo of the lone client's renewals", () => {
            expectConnections([lone]);
            return lone.socket.heard.get(lone.id)?.clock >= RENEWALS;
        }, DEADLINE_MS),
        until("frames for a client without a state", () => {
            expectConnections([mute]);
            return mute.socket.framesIn >= framesBefore + FRAMES;
        }, DEADLINE_MS),
        untilForgotten(stage),
    ]);
    expectConnections([lone, mute]);
    return "nobody hung up, a state that was not renewed is gone";
});

/** A client that is there but does not renew its state, seen by one that applies no timeout of its own. */
async function untilForgotten(stage) {
    const url = `${stage.url.replace(/\/$/, "")}/${stage.run}-silent`;
    const records = [];
    const Socket = countedWebSocket(records, changed, complain);
    const [silent, watcher] = [new Socket(url), new Socket(url)];
    await until("both to be connected", () => records.every(({ opened }) => opened));
    const id = 4711;
    silent.send(awareness([[id, 1, { user: "silent" }]]));
    const heard = () => records[1].heard.get(id)?.state;
    await until("the silent client's state to be seen", () => heard()?.user === "silent");
    await until("the silent client's state to be declared gone", () => heard() === null, DEADLINE_MS);
    for (const socket of [silent, watcher]) socket.terminate();
}

function awareness(entries) {
    const update = encoding.createEncoder();
    encoding.writeVarUint(update, entries.length);
    for (const [id, clock, state] of entries) {
        encoding.writeVarUint(update, id);
        encoding.writeVarUint(update, clock);
        encoding.writeVarString(update, JSON.stringify(state));
    }
    const message = encoding.createEncoder();
    encoding.writeVarUint(message, MESSAGE.awareness);
    encoding.writeVarUint8Array(message, encoding.toUint8Array(update));
    return encoding.toUint8Array(message);
}
