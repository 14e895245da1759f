// What a scenario is made of: starting real clients, noting what they are told, waiting for them.

import { randomBytes, randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import * as prng from "lib0/prng";
import { io } from "socket.io-client";
import { changed, complaints, conclude, DEADLINE_MS, expectEqual, until, untilLine, within } from "../scenario.mjs";

export { expect, expectEqual, until } from "../scenario.mjs";

/** How a client's messages travel, as `transports` of its options. */
export const WEB = ["websocket"];
export const POLLING = ["polling"];
export const UPGRADING = ["polling", "websocket"];
export const TRANSPORTS = { web: WEB, polling: POLLING, upgrading: UPGRADING };

/** Messages of the chat that a snapshot has. */
export const CHAT_KEPT = 50;

const clients = [];
let settled = 0;

/** A client of the world, with what it makes of all that it is told. */
export class Client {
    /** `options` go to the library. */
    constructor(name, { url, path, run }, options = {}) {
        this.name = name;
        this.id = `${run}-${name}`;
        this.told = []; // events since the last look, as [name, payload]
        this.players = new Map();
        this.chat = [];
        this.disconnects = [];
        this.opens = 0;
        this.attempts = 0;
        this.mayFail = false; // whether the server may be away
        // As the web client: reconnection is left on, five times at most.
        this.socket = io(url, {
            path, transports: WEB, timeout: 5000, reconnectionAttempts: 5, reconnectionDelay: 50,
            reconnectionDelayMax: 400, forceNew: true, ...options,
        });
        this.socket.onAny((event, ...args) => this.hear(event, args));
        this.socket.on("connect", changed);
        this.socket.on("disconnect", reason => { this.disconnects.push(reason); changed(); });
        this.socket.on("connect_error", ({ message }) => {
            if (!this.mayFail) complaints.push(`${name}: ${message}`);
            changed();
        });
        const { io: manager } = this.socket;
        manager.on("open", () => {
            this.opens++;
            manager.engine.on("upgrade", changed);
            changed();
        });
        manager.on("reconnect_attempt", () => { this.attempts++; changed(); });
        clients.push(this);
    }

    get transport() { return this.socket.io.engine?.transport.name; }

    hear(event, args) {
        if (args.length !== 1) complaints.push(`${this.name}: ${event} with ${args.length} arguments`);
        this.told.push([event, args[0]]);
        this.apply(event, args[0]);
        changed();
    }

    apply(event, value) {
        switch (event) {
        case "world:state":
            this.show(value);
            break;
        case "player:joined":
        case "player:updated":
            if (event === "player:updated" && !this.players.has(value.id)) {
                complaints.push(`${this.name}: ${value.id} moves, and is not there`);
            }
            this.players.set(value.id, value);
            break;
        case "player:left":
            if (!this.players.delete(value.id)) complaints.push(`${this.name}: ${value.id} leaves, and is not there`);
            break;
        case "chat:message":
            this.chat = [...this.chat, value].slice(-CHAT_KEPT);
            break;
        case "session:disconnect":
        case "session:terminated":
            break;
        default:
            complaints.push(`${this.name}: ${event}`);
        }
    }

    show({ players, chat }) {
        this.players = new Map(players.map(player => [player.id, player]));
        this.chat = chat;
    }

    /** What it knows of the world, players in one order for all. */
    get view() {
        const players = [...this.players.values()].sort((a, b) => a.id < b.id ? -1 : 1);
        return JSON.stringify({ players, chat: this.chat });
    }

    async connected() {
        await until(`${this.name} to be shown the world`, () => this.told.length > 0 && this.socket.connected);
        return this;
    }

    /** What was said to it since the last look; of this kind, if one is named. */
    look(kind) {
        const told = this.told.filter(([event]) => kind === undefined || event === kind);
        this.told = [];
        return kind === undefined ? told : told.map(([, payload]) => payload);
    }

    /** What an event is acknowledged with. */
    async ask(event, ...args) {
        const what = `an acknowledgement of ${event} for ${this.name}`;
        const answer = await within(DEADLINE_MS, what, new Promise(resolve => this.socket.emit(event, ...args, resolve)));
        // It knows of its own player by what it is answered.
        if (answer.ok && answer.state) this.show(answer.state);
        else if (answer.ok && answer.player) this.players.set(answer.player.id, answer.player);
        return answer;
    }

    /** The same, which must succeed. */
    async done(event, ...args) {
        const answer = await this.ask(event, ...args);
        expectEqual(`ok of ${event} by ${this.name} (${answer.message})`, answer.ok, true);
        return answer;
    }

    /** The same, which must be refused. */
    async refused(event, message, ...args) {
        expectEqual(`answer to ${event} ${JSON.stringify(args)}`, await this.ask(event, ...args), { ok: false, message });
    }

    async join(more = {}) {
        const { player } = await this.done("player:join", { playerId: this.id, name: this.name, ...more });
        return player;
    }

    say(content, more = {}) {
        return this.done("chat:message", { content, playerId: this.id, author: this.name, ...more });
    }

    disconnect() {
        this.socket.disconnect();
    }

    situation() {
        const { connected, active } = this.socket;
        return [
            `--- ${this.name}: ${connected ? "connected" : active ? "connecting" : "away"} by ${this.transport}, ` +
                `${this.opens} connections, ${this.attempts} attempts, disconnects: ${this.disconnects}`,
            `told: ${JSON.stringify(this.told.slice(-10)).slice(0, 1500)}`,
            `view: ${this.view.slice(0, 500)}`,
        ];
    }
}

/** The server under test, and the names of one scenario. */
class Stage {
    constructor(scenario, { url, path }, seed) {
        this.url = url;
        this.path = path;
        this.seed = seed;
        this.random = prng.create(seed);
        this.run = `${scenario}-${randomBytes(4).toString("hex")}`; // ids of its own, whatever ran before
    }

    /** A client that is shown the world. */
    connect(name, transports = WEB, options = {}) {
        return new Client(name, this, { transports, ...options }).connected();
    }

    /** Clients that have joined, and looked at everything. */
    async join(names, transports = WEB) {
        const joined = [];
        for (const name of names) {
            const client = await this.connect(name, transports);
            await client.join();
            joined.push(client);
        }
        await settle(joined.at(-1), joined);
        for (const client of joined) client.look();
        return joined;
    }

    /** Has whoever runs this scenario restart the server. */
    async restart(meanwhile = async () => {}) {
        console.log("READY-FOR-RESTART");
        await Promise.all([meanwhile(), untilLine("RESTARTED", DEADLINE_MS)]);
    }
}

/**
 * Waits until `these` have been told of all that `actor` did: what it says leaves behind everything else of it. `actor`
 * has joined.
 */
export async function settle(actor, these) {
    const content = `settle ${++settled}`;
    await actor.say(content);
    const isSaid = ([event, message]) => event === "chat:message" && message.content === content;
    await until(`${these.map(({ name }) => name)} to hear ${actor.name}`, () => {
        return [...these, actor].every(({ told }) => told.some(isSaid));
    });
    for (const each of new Set([...these, actor])) each.told = each.told.filter(one => !isSaid(one));
}

/** Everybody, a newcomer included, sees the same world. */
export async function expectSameWorld(stage, these) {
    const late = await stage.connect(`late-${++settled}`);
    await until("everybody to see what a newcomer sees", () => these.every(({ view }) => view === late.view));
    late.disconnect();
}

/** Each has opened one connection, and is on it still. */
export function expectUndisturbed(these) {
    for (const { name, opens, disconnects, socket } of these) {
        expectEqual(`${name}: connections, disconnects, connected`, [opens, disconnects, socket.connected], [1, [], true]);
    }
}

/** Runs `body(stage, values)` against the server named on the command line; the exit code tells the result. */
export async function scenario(name, body, { options = {}, deadlineMs } = {}) {
    const text = { type: "string" };
    const path = { type: "string", default: "/socket.io/" };
    const { values } = parseArgs({ options: { url: text, path, seed: text, ...options } });
    const seed = Number(values.seed ?? randomInt(2 ** 31));
    if (!values.url || !Number.isInteger(seed)) {
        console.error(`usage: node ${name}.mjs --url=http://127.0.0.1:PORT [--path=/socket.io/] [--seed=INTEGER]`);
        process.exit(2);
    }
    process.on("uncaughtException", error => { complaints.push(error.stack); changed(); });
    const stage = new Stage(name, values, seed);
    await conclude(`${stage.run} --seed=${seed}`, async () => {
        const summary = await body(stage, values);
        expectEqual("errors reported by the clients", complaints, []);
        return summary;
    }, () => clients.slice(0, 10).flatMap(client => client.situation()), deadlineMs);
}
