// A process that hosts one or more real clients of one session; lib.mjs forks it and calls it over IPC.
// Counters of sockets, downloads and model inits are per process: host one client where they must be told apart.

import Croquet from "@croquet/croquet";
import { Ledger, Witness, inits } from "./ledger.mjs";
import { cutConnections, downloads, instrument, sockets } from "./wire.mjs";

const STEP_MS = 20;

const clients = [];
const complaints = []; // what the SDK wrote to console.error: divergence, failed uploads, exceptions in the model
const waiting = new Set();

function changed() {
    for (const recheck of waiting) recheck();
}

class Client {
    constructor(name) {
        this.name = name;
        this.boots = 0;
        this.synced = false;
        this.published = 0;
        this.changed = changed;
    }

    async join(spec) {
        // The view options go to the view as they are, so the view can report to this very object.
        const own = { model: Ledger, view: Witness, viewOptions: this, step: "manual" };
        this.session = await Croquet.Session.join({ ...spec, ...own });
        this.stepping = setInterval(() => this.session.step(Date.now()), STEP_MS);
        changed();
    }

    publish(padding) {
        if (!this.session.view) throw new Error(`${this.name} has no view: its session ended or is being rebooted`);
        this.session.view.publish("ledger", "event", { from: this.name, n: ++this.published, padding });
    }

    get events() {
        return this.session?.model?.events ?? [];
    }

    report() {
        const { name, viewId, boots, synced, events, session } = this;
        const { id: sessionId, persistentId, model } = session ?? {};
        return { name, viewId, boots, synced, events, presence: model?.presence, sessionId, persistentId };
    }
}

/** What `until` can wait for; each holds for the whole process. */
const conditions = {
    events: count => clients.every(client => client.events.length >= count),
    synced: () => clients.every(client => client.synced),
    connections: count => sockets.filter(socket => socket.syncs.length).length >= count,
    interrupted: () => sockets.some(socket => socket.closed !== null),
    snapshot: () => sockets.some(socket => socket.snaps.length),
    save: () => sockets.some(socket => socket.saves.length),
    left: viewId => sockets.some(socket => socket.left.includes(viewId)),
};

const calls = {
    async join({ names, server, spec }) {
        // In Node the SDK resolves `box` and `files` against window.location, which only browsers have.
        globalThis.window = { location: new URL(server.box ?? server.files) };
        clients.push(...names.map(name => new Client(name)));
        await Promise.all(clients.map(client => client.join({ ...spec, ...server })));
    },

    /** Each client publishes `count` events, one every `everyMs` (0: all in one go, which the SDK bundles). */
    async publish({ count, everyMs = 0, paddingBytes = 0 }) {
        const padding = "x".repeat(paddingBytes);
        for (let i = 0; i < count; i++) {
            if (i && everyMs) await new Promise(resolve => setTimeout(resolve, everyMs));
            for (const client of clients) client.publish(padding);
        }
    },

    save() {
        clients[0].session.view.publish("ledger", "save");
    },

    /** Cuts the connections and, in the same turn, publishes into the gap: the SDK has to keep these for later. */
    cut({ publish }) {
        cutConnections();
        return calls.publish({ count: publish });
    },

    until({ condition, argument, deadlineMs }) {
        return new Promise((resolve, reject) => {
            const settle = (outcome, value) => {
                clearTimeout(timer);
                waiting.delete(recheck);
                outcome(value);
            };
            const recheck = () => conditions[condition](argument) && settle(resolve);
            const late = new Error(`expected "${[condition, argument].join(" ").trim()}" within ${deadlineMs} ms`);
            const timer = setTimeout(() => settle(reject, late), deadlineMs);
            waiting.add(recheck);
            recheck();
        });
    },

    report() {
        return { clients: clients.map(client => client.report()), sockets, downloads, inits, complaints };
    },
};

instrument(changed);

const plainError = console.error;
console.error = (...words) => {
    complaints.push(words.map(String).join(" "));
    plainError(...words);
};

process.on("message", async ({ id, call, argument }) => {
    try {
        process.send({ id, value: await calls[call](argument ?? {}) });
    } catch (error) {
        process.send({ id, error: error.message });
    }
});
process.on("disconnect", () => process.exit());
