// What a scenario is made of: real clients, what happened to them, and waiting for it.

import { randomBytes } from "node:crypto";
import { Agent } from "node:http";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { io } from "socket.io-client";
import { changed, conclude, DEADLINE_MS, expectEqual, until, untilLine, within } from "../scenario.mjs";

export { changed, DEADLINE_MS, expect, expectEqual, until } from "../scenario.mjs";

/** Largest payload, or message, that the server takes, in bytes. */
export const PAYLOAD_BYTES_MAX = 1_000_000;

/** How clients travel; `upgrading` is their default. */
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrading: ["polling", "websocket"] };
/** The same server with heartbeats that busy machines keep up with, and with those of a suite. */
const [CALM, HASTY] = ["/calm.io/", "/socket.io/"];
// The clients' own defaults are 1 and 5 s; tests reconnect often.
const BACKOFF = { reconnectionDelay: 50, reconnectionDelayMax: 400 };

const clients = [];

/** A socket of socket.io-client, in one namespace, and what has happened to it. */
class Client {
    /** `options` go to the socket's manager; `manager` makes it share the connection of another client. */
    constructor(name, url, { namespace = "/", manager, auth, ...options }) {
        this.name = name;
        this.heard = []; // events as [name, ...arguments]
        this.fates = []; // "connect", or why it was disconnected or refused
        this.pings = 0;
        this.upgrades = 0;
        this.failedUpgrades = 0;
        this.agent = new Agent();
        this.socket = manager ? manager.socket(namespace, { auth })
            : io(new URL(namespace, url).href, { forceNew: true, auth, agent: this.agent, ...BACKOFF, ...options });
        this.wasAuth = auth ?? {};
        this.socket.on("connect", () => this.#note("connect"));
        this.socket.on("disconnect", reason => this.#note(reason));
        this.socket.on("connect_error", error => {
            this.refusal = { message: error.message, data: error.data };
            this.#note(error.message);
        });
        this.socket.onAny((...event) => {
            this.heard.push(event);
            changed();
        });
        this.manager.on("ping", () => {
            this.pings++;
            changed();
        });
        this.manager.on("open", () => this.#watchEngine());
        if (this.manager.engine) this.#watchEngine();
        clients.push(this);
    }

    get manager() { return this.socket.io; }
    get engine() { return this.manager.engine; }
    get transport() { return this.engine?.transport?.name; }
    get connects() { return this.fates.filter(fate => fate === "connect").length; }

    #note(fate) {
        this.fates.push(fate);
        changed();
    }

    #watchEngine() {
        const { engine } = this;
        if (this.watched === engine) return;
        this.watched = engine;
        engine.on("upgrade", () => {
            this.upgrades++;
            changed();
        });
        engine.on("upgradeError", () => {
            this.failedUpgrades++;
            changed();
        });
    }

    connected(times = 1) {
        return until(`${this.name} to be connected ${times} times`, () => {
            return this.socket.connected && this.connects >= times;
        });
    }

    /** Waits until it has moved to where it goes. */
    async settled(times) {
        await this.connected(times);
        const last = this.manager.opts.transports.at(-1);
        await until(`${this.name} to have moved to ${last}`, () => this.transport === last);
    }

    /** Waits for the next event of this name that was not taken yet; its arguments. */
    async hears(event) {
        let at;
        await until(`${this.name} to hear ${event}`, () => {
            at = this.heard.findIndex(([name]) => name === event);
            return at >= 0;
        });
        const [[, ...args]] = this.heard.splice(at, 1);
        return args;
    }

    /** Waits until it is disconnected, or refused; why. */
    async ended() {
        const isEnded = () => this.fates.length > 0 && this.fates.at(-1) !== "connect";
        await until(`${this.name} to be disconnected or refused`, isEnded);
        return this.fates.at(-1);
    }

    /** Says something that comes back, and waits for it. */
    async echo(...args) {
        this.socket.emit("message", ...args);
        expectEqual(`what comes back to ${this.name}`, await this.hears("message-back"), args);
    }

    /** The same as an acknowledgement. */
    async acked(...args) {
        // An acknowledgement of several values: emitWithAck knows only the first.
        const answer = new Promise(resolve => {
            this.socket.emit("message-with-ack", ...args, (...values) => resolve(values));
        });
        expectEqual(`what ${this.name} is acknowledged`, await within(DEADLINE_MS, "an ack", answer), args);
    }

    /** Drops its connections the way a dead network does. It comes back by itself. */
    cut() {
        const { transport } = this.engine;
        if (transport.name === "websocket") return transport.ws.terminate();
        const cut = () => Object.values(this.agent.sockets).flat().forEach(socket => socket.destroy());
        const again = setInterval(cut, 10); // between two polls there is nothing to be cut
        this.socket.once("disconnect", () => clearInterval(again));
        cut();
    }

    situation() {
        const state = `${this.socket.connected ? "connected" : "not connected"} by ${this.transport}`;
        return [
            `--- ${this.name} ${state}, ${this.pings} pings, ${this.upgrades} upgrades, ${this.failedUpgrades} failed`,
            `fates: ${JSON.stringify(this.fates.slice(-20))}`,
            `heard and not taken: ${JSON.stringify(this.heard.slice(-10)).slice(0, 1000)}`,
        ];
    }
}

/** The server under test, and how clients travel. */
class Stage {
    constructor(url, transport) {
        this.url = url;
        this.transport = transport;
        this.transports = TRANSPORTS[transport];
        this.run = randomBytes(4).toString("hex");
    }

    /** A client that connects. `hasty` has it held to heartbeats of half a second. */
    client(name, { hasty = false, ...options } = {}) {
        return new Client(name, this.url, { path: hasty ? HASTY : CALM, transports: this.transports, ...options });
    }

    /** Clients that are connected, and have moved. */
    async join(names, options) {
        const joined = names.map(name => this.client(name, options));
        await Promise.all(joined.map(client => client.settled()));
        for (const client of joined) {
            expectEqual(`auth of ${client.name}`, await client.hears("auth"), [client.wasAuth]);
        }
        return joined;
    }

    /** One of the server's numbers, summed over its shards. */
    async metric(name) {
        const text = await (await fetch(new URL("/metrics", this.url))).text();
        const lines = text.split("\n").filter(line => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
        return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    }

    /** Waits until one of the server's numbers is `wanted`: asks again and again. */
    async untilMetric(name, wanted) {
        let seen;
        const asked = (async () => {
            do seen = await this.metric(name); while (seen !== wanted);
        })();
        await within(DEADLINE_MS, `${name} to be ${wanted}`, asked);
    }

    /** Has whoever runs this scenario restart the server. */
    async restart(meanwhile = async () => {}) {
        console.log("READY-FOR-RESTART");
        await Promise.all([meanwhile(), untilLine("RESTARTED", DEADLINE_MS)]);
    }
}

/** Expects clients to have been connected once, and to be so still. */
export function expectUndisturbed(these) {
    for (const { name, fates } of these) expectEqual(`what happened to ${name}`, fates, ["connect"]);
}

/** Whether a client has heard exactly these events, in this order. */
export function hasHeard(client, events) {
    return isDeepStrictEqual(client.heard, events);
}

/** Runs `body(stage)` against the server named on the command line; the exit code tells the result. */
export async function scenario(name, body) {
    const text = { type: "string" };
    const { values: { url, transport = "upgrading" } } = parseArgs({ options: { url: text, transport: text } });
    if (!url || !TRANSPORTS[transport]) {
        const transports = Object.keys(TRANSPORTS).join("|");
        console.error(`usage: node ${name}.mjs --url=http://127.0.0.1:PORT [--transport=${transports}]`);
        process.exit(2);
    }
    const stage = new Stage(url, transport);
    await conclude(`${name} ${transport}`, () => body(stage), () => clients.flatMap(client => client.situation()));
}
