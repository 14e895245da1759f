// What a scenario is made of: starting real clients, waiting for them, comparing what they saw.

import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { conclude, DEADLINE_MS, expect, expectEqual, Unmet, within } from "../scenario.mjs";

export { expect, expectEqual, untilLine } from "../scenario.mjs";

/** One event per 17 ms is just below the most the SDK sends without bundling (`eventRateLimit: 60`). */
export const FULL_RATE_MS = 17;

const LOG_LINES_KEPT = 30;
const hosts = [];

/** A process with one or more real clients of one session. */
class Host {
    constructor(names) {
        this.names = names;
        this.label = names.length > 1 ? `${names[0]}..${names.at(-1)}` : names[0];
        this.log = [];
        this.pending = new Map();
        this.nextCall = 0;
        this.process = fork(new URL("host.mjs", import.meta.url), { stdio: ["ignore", "pipe", "pipe", "ipc"] });
        this.process.on("message", reply => this.settle(reply));
        this.process.on("exit", code => this.abandon(`process of ${this.label} ended with code ${code}`));
        for (const stream of [this.process.stdout, this.process.stderr]) {
            createInterface(stream).on("line", line => this.log.push(line) > LOG_LINES_KEPT && this.log.shift());
        }
    }

    call(call, argument) {
        return new Promise((resolve, reject) => {
            const id = this.nextCall++;
            this.pending.set(id, { call, resolve, reject });
            this.process.send({ id, call, argument }, error => error && this.settle({ id, error: error.message }));
        });
    }

    settle({ id, value, error }) {
        if (!this.pending.has(id)) return;
        const { call, resolve, reject } = this.pending.get(id);
        this.pending.delete(id);
        if (error === undefined) resolve(value);
        else reject(new Unmet(`${call} of ${this.label}: ${error}`));
    }

    abandon(reason) {
        for (const { reject } of this.pending.values()) reject(new Unmet(reason));
        this.pending.clear();
    }

    publish(plan) { return this.call("publish", plan); }
    save() { return this.call("save"); }
    cut(plan) { return this.call("cut", plan); }
    report() { return this.call("report"); }

    /** Waits for one of host.mjs's `conditions`. */
    until(condition, argument, deadlineMs = DEADLINE_MS) {
        return this.call("until", { condition, argument, deadlineMs });
    }

    /** What a reader of a failure wants to know first. */
    async situation() {
        const { clients, sockets, inits } = await within(1000, "an answer", this.report());
        return [...clients.map(describeClient), `Model.init ran ${inits.count} times`, ...sockets.map(describeSocket)];
    }
}

function describeClient({ name, events, boots, synced }) {
    return `${name}: ${events.length} events, ${boots} boots of the view, ${synced ? "in sync" : "not in sync"}`;
}

function describeSocket({ opened, closed, syncs, framesIn, framesOut }, index) {
    const fate = closed === null ? (opened ? "open" : "connecting") : `closed with ${closed}`;
    return `socket ${index + 1}: ${syncs.length} SYNC, ${framesIn} frames in, ${framesOut} out, ${fate}`;
}

/** The server under test and the session of one scenario. */
class Stage {
    constructor(scenario, server) {
        this.server = server;
        this.run = `${scenario}-${randomBytes(4).toString("hex")}`; // its own session, whatever ran before
    }

    /** One process per name (or per list of names); `spec` overrides parameters of `Session.join`. */
    async join(names, spec = {}) {
        const started = names.map(name => new Host([name].flat()));
        hosts.push(...started);
        const usual = { appId: "test.lockstep.ledger", name: this.run, password: "secret", eventRateLimit: 60 };
        const plan = { server: this.server, spec: { ...usual, ...spec } };
        const joined = started.map(host => host.call("join", { ...plan, names: host.names }));
        await within(DEADLINE_MS, `${names} to have joined`, Promise.all(joined));
        await Promise.all(started.map(host => host.until("synced")));
        return started;
    }
}

/**
 * Waits until all clients of `hosts` have `counts[name]` events of every sender, then expects identical ledgers:
 * every event once, in its sender's order, at the same teatime with the same digest. Returns the hosts' reports.
 */
export async function expectSameLedger(hosts, counts) {
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    await Promise.all(hosts.map(host => host.until("events", total)));
    const reports = await Promise.all(hosts.map(host => host.report()));
    const [first, ...others] = reports.flatMap(report => report.clients);
    expectComplete(first, counts);
    for (const other of others) {
        first.events.forEach((event, i) => {
            expectEqual(`event ${i} of ${other.name}, compared with ${first.name}`, other.events[i], event);
        });
        expectEqual(`number of events of ${other.name}`, other.events.length, total);
    }
    for (const { complaints } of reports) expectEqual("errors reported by the SDK", complaints, []);
    return reports;
}

function expectComplete({ name, events }, counts) {
    const next = Object.fromEntries(Object.keys(counts).map(sender => [sender, 1]));
    let clock = 0;
    for (const [time, sender, n] of events) {
        expectEqual(`next event of sender ${sender} in the ledger of ${name}`, n, next[sender]);
        expect(`teatime not to run backwards (${clock})`, time >= clock, time);
        next[sender]++;
        clock = time;
    }
    for (const [sender, count] of Object.entries(counts)) {
        expectEqual(`events of sender ${sender} in the ledger of ${name}`, next[sender] - 1, count);
    }
}

/** Expects that each client has opened `connections` sockets, has one of them still open, and was not rebooted. */
export function expectConnections(reports, connections = 1) {
    for (const report of reports) {
        const { clients, sockets } = report;
        const names = clients.map(client => client.name);
        const open = sockets.filter(socket => socket.closed === null);
        expectEqual(`sockets opened by ${names}`, sockets.length, clients.length * connections);
        expectEqual(`sockets still open of ${names}`, open.length, clients.length);
        expectNoReboot(report);
    }
}

/** Expects that neither view nor model of any client was ever rebuilt. */
export function expectNoReboot({ clients, inits }) {
    for (const { name, boots } of clients) expectEqual(`boots of the view of ${name}`, boots, 1);
    const names = clients.map(client => client.name);
    expect(`at most one Model.init per client of ${names}`, inits.count <= clients.length, inits.count);
}

/** The first of `promises` to succeed; if none does, the first reason. */
export function firstOf(promises) {
    return Promise.any(promises).catch(({ errors }) => { throw errors[0]; });
}

/** Runs `body(stage)` against the server named on the command line; the exit code tells the result. */
export async function scenario(name, body, { deadlineMs } = {}) {
    const url = { type: "string" };
    const { values: server } = parseArgs({ options: { box: url, reflector: url, files: url } });
    if (!server.box && !(server.reflector && server.files)) {
        console.error(`usage: node ${name}.mjs --box=http://127.0.0.1:PORT/ | --reflector=ws://… --files=http://…`);
        process.exit(2);
    }
    const stage = new Stage(name, server);
    await conclude(stage.run, () => body(stage), situation, deadlineMs);
}

async function situation() {
    const lines = hosts.map(async host => [
        `--- ${host.label}`,
        ...await host.situation().catch(error => [error.message]),
        ...host.log.map(line => `  | ${line}`),
    ]);
    return (await Promise.all(lines)).flat();
}
