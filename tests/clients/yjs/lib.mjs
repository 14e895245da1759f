// What a scenario is made of: starting real clients, waiting for them, comparing their documents.

import { randomBytes, randomInt } from "node:crypto";
import { setImmediate as soon } from "node:timers/promises";
import { parseArgs } from "node:util";
import * as prng from "lib0/prng";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";
import { changed, complaints, conclude, DEADLINE_MS, expectEqual, Unmet, until, untilLine } from "../scenario.mjs";
import { canonical, clocks, describe, isComplete } from "./state.mjs";
import { countedWebSocket } from "./wire.mjs";

export { changed, DEADLINE_MS, expect, expectEqual, until, untilLine, within } from "../scenario.mjs";

/** For what takes long: many or large edits. */
export const LONG_DEADLINE_MS = 240_000;

// The clients' own default is 2500 ms; tests reconnect often.
const BACKOFF_MAX_MS = 400;

const clients = [];

export function complain(what) {
    complaints.push(what);
    changed();
}

/** A document with a y-websocket provider. */
class Client {
    /** `options` go to the provider. */
    constructor(name, { url, room, id }, options) {
        this.name = name;
        this.room = room;
        this.sockets = [];
        this.doc = new Y.Doc();
        this.doc.clientID = id;
        this.doc.on("update", changed);
        this.provider = new WebsocketProvider(url, room, this.doc, {
            disableBc: true, // else clients of one process would talk to each other past the server
            maxBackoffTime: BACKOFF_MAX_MS,
            WebSocketPolyfill: countedWebSocket(this.sockets, changed, what => complain(`${name}: ${what}`)),
            ...options,
        });
        this.provider.on("sync", changed);
        this.awareness.on("update", changed);
        clients.push(this);
    }

    get id() { return this.doc.clientID; }
    get awareness() { return this.provider.awareness; }
    get text() { return this.doc.getText("text"); }
    /** The record of its newest connection. */
    get socket() { return this.sockets.at(-1); }
    /** States it knows of, by client id, its own left out. */
    get others() { return new Map([...this.awareness.getStates()].filter(([id]) => id !== this.id)); }

    synced(deadlineMs) {
        return until(`${this.name} to be synced`, () => this.provider.synced, deadlineMs);
    }

    /**
     * Waits until the server has dealt with all that this client has sent, and this client with all that the server had
     * to send before: the echo of its state comes behind that. (An answer to Step1 would too, but makes good whatever
     * was lost on the way.) Needs a state.
     */
    async settled(deadlineMs) {
        await this.synced(deadlineMs);
        this.awareness.setLocalState(this.awareness.getLocalState());
        const { clock } = this.awareness.meta.get(this.id);
        await until(`the echo of ${this.name}'s state`, () => {
            const heard = this.socket.heard.get(this.id);
            return heard?.clock >= clock && heard.state !== null;
        }, deadlineMs);
    }

    /** Drops its connection the way a dead network does: no closing handshake. It comes back by itself. */
    cut({ forGood = false } = {}) {
        this.provider.shouldConnect = !forGood;
        this.provider.ws?.terminate();
    }

    /** Says goodbye; the document stays. */
    disconnect() {
        this.provider.disconnect();
        return until(`${this.name} to be disconnected`, () => this.sockets.every(({ closed }) => closed !== null));
    }

    async reconnect() {
        this.provider.connect();
        await this.synced();
    }

    /** Leaves for good. */
    async leave() {
        await this.disconnect();
        this.provider.destroy();
        this.awareness.destroy();
    }

    situation() {
        const { wsconnected, synced } = this.provider;
        const state = `${wsconnected ? "connected" : "not connected"}, ${synced ? "synced" : "not synced"}`;
        return [
            `--- ${this.name} in ${this.room}: ${state}`,
            `document: ${describe(this.doc)}`,
            `awareness: ${JSON.stringify([...this.awareness.getStates()]).slice(0, 500)}`,
            ...this.sockets.slice(-10).map((socket, i) => `socket ${i + 1}: ${describeSocket(socket)}`),
        ];
    }
}

function describeSocket({ opened, closed, framesIn, framesOut, bytesIn, bytesOut, step1In, step2In, updatesIn }) {
    const fate = closed === null ? (opened ? "open" : "connecting") : `closed with ${closed}`;
    const sync = `${step1In} Step1, ${step2In} Step2, ${updatesIn} updates in`;
    return `${framesIn} frames (${bytesIn} bytes) in, ${framesOut} (${bytesOut}) out, ${sync}, ${fate}`;
}

/** The server under test and the room of one scenario. */
class Stage {
    constructor(scenario, url, seed) {
        this.url = url;
        this.seed = seed;
        this.random = prng.create(seed);
        this.run = `${scenario}-${randomBytes(4).toString("hex")}`; // its own room, whatever ran before
    }

    /** A client that connects; `room` and `options` of the provider may be given. */
    client(name, { room = this.run, ...options } = {}) {
        return new Client(name, { url: this.url, room, id: prng.uint32(this.random, 1, 2 ** 31) }, options);
    }

    /** Clients that have joined. */
    async join(names, options) {
        const joined = names.map(name => this.client(name, options));
        await Promise.all(joined.map(client => client.synced()));
        return joined;
    }

    /** Has whoever runs this scenario restart the server. `meanwhile` runs once that is asked for. */
    async restart(meanwhile = async () => {}) {
        console.log("READY-FOR-RESTART");
        await Promise.all([meanwhile(), untilLine("RESTARTED", DEADLINE_MS)]);
    }
}

/**
 * Waits until all documents are the same to the last byte of their canonical form, nothing is missing from them and
 * all clients are synced. Returns those bytes.
 */
export async function untilSame(these, deadlineMs) {
    const [first, ...others] = these;
    let bytes;
    await until(`the documents of ${these.map(({ name }) => name)} to be the same`, () => {
        if (!these.every(({ provider, doc }) => provider.synced && isComplete(doc))) return false;
        const known = clocks(first.doc); // tells most differences, at little cost
        if (others.some(({ doc }) => clocks(doc) !== known)) return false;
        bytes = canonical(first.doc);
        return others.every(({ doc }) => canonical(doc).equals(bytes));
    }, deadlineMs);
    return bytes;
}

/** Expects `doc` to have everything that `part` has, deletions included. */
export function expectContains(what, doc, part) {
    const both = new Y.Doc();
    for (const each of [doc, part]) Y.applyUpdate(both, Y.encodeStateAsUpdate(each));
    if (canonical(both).equals(canonical(doc))) return;
    throw new Unmet(`${what}: expected at least ${describe(part)}; saw ${describe(doc)}`);
}

/** Expects each client to have opened `count` sockets, and all of them but the last to be closed. */
export function expectConnections(these, count = 1) {
    for (const { name, sockets } of these) {
        const open = sockets.map(({ closed }) => closed === null);
        expectEqual(`sockets of ${name} that are open`, open, Array(count).fill(false).with(-1, true));
    }
}

/** Lets the network have its turn; for whoever produces a lot. */
export async function breathe(client, bufferedMax = 1 << 20) {
    do await soon(); while (client.provider.ws?.bufferedAmount > bufferedMax);
}

/** Runs `body(stage, values)` against the server named on the command line; the exit code tells the result. */
export async function scenario(name, body, { options = {}, deadlineMs } = {}) {
    const text = { type: "string" };
    const { values } = parseArgs({ options: { url: text, seed: text, ...options } });
    const seed = Number(values.seed ?? randomInt(2 ** 31));
    if (!values.url || !Number.isInteger(seed)) {
        const more = Object.keys(options).map(option => ` [--${option}]`).join("");
        console.error(`usage: node ${name}.mjs --url=ws://127.0.0.1:PORT/yjs [--seed=INTEGER]${more}`);
        process.exit(2);
    }
    listenForComplaints();
    const stage = new Stage(name, values.url, seed);
    await conclude(`${stage.run} --seed=${seed}`, async () => {
        const summary = await body(stage, values);
        expectEqual("errors reported by the clients", complaints, []);
        return summary;
    }, () => clients.flatMap(client => client.situation()), deadlineMs);
}

function listenForComplaints() {
    process.setMaxListeners(0); // each provider listens for the end of the process
    for (const level of ["error", "warn"]) {
        const plain = console[level];
        console[level] = (...words) => {
            complain(words.map(String).join(" "));
            plain(...words);
        };
    }
    process.on("uncaughtException", error => complain(error.stack));
}
