// A client that behaves as the library's folder agent does: it announces its folder a while after a change, and puts
// what others announce in the place of its own, fetching rows and blobs that it has not. Its folder is in memory. Either
// side may ask the other for rows and blobs, so it answers as well.

import { randomBytes } from "node:crypto";
import { io } from "socket.io-client";
import { changed, complaints, DEADLINE_MS, until, within } from "../scenario.mjs";
import { blobId, hashOf, plant } from "./rows.mjs";

/** What all scenarios share. */
export const TREE = "sharedTree";
export const ROUTE = `/${TREE}`;
/** What is fetched of a blob at a time. */
export const RANGE_BYTES = 4 << 20;
/** From a change to its being announced: 300 ms until all is quiet, then the agent looks at its folder and stores it. */
const DEBOUNCE_MS = 350;

export class Agent {
    /**
     * `files` is what its folder begins with, text by path. `acks`: it asks for acknowledgements, and gives them.
     * `isSilent`: it does not announce its folder when it comes. Other options go to Socket.IO.
     */
    constructor(name, { url, path }, { files = {}, acks = false, isSilent = false, ...options } = {}) {
        this.name = name;
        this.acks = acks;
        this.origin = `${Date.now()}:${randomBytes(3).toString("base64url")}`;
        this.seq = 0;
        this.folder = new Map();
        this.rows = new Map();
        this.blobs = new Map();
        this.root = null; // what it last announced or put in place
        this.heard = new Set(); // refs, its own among them: each is taken up once
        this.told = []; // [event, payload]
        this.asked = []; // what the server asked for
        this.disconnects = [];
        this.opens = 0;
        this.mayFail = false; // whether the server may be away, or not have something
        this.failures = [];
        this.handlers = { ...HANDLERS };
        for (const [at, text] of Object.entries(files)) this.folder.set(at, { content: Buffer.from(text), mtime: now() });
        this.socket = io(url, {
            path, timeout: 5000, reconnectionDelay: 50, reconnectionDelayMax: 400, forceNew: true, ...options,
        });
        this.socket.onAny((event, ...args) => this.hear(event, args));
        this.socket.on("disconnect", reason => { this.disconnects.push(reason); changed(); });
        this.socket.on("connect_error", ({ message }) => {
            if (!this.mayFail) complaints.push(`${name}: ${message}`);
            changed();
        });
        this.socket.on("connect", () => {
            this.opens++;
            if (this.opens === 1 && !isSilent) this.announce();
            changed();
        });
    }

    get transport() { return this.socket.io.engine?.transport.name; }

    async connected() {
        await until(`${this.name} to be connected`, () => this.socket.connected);
        return this;
    }

    /** The folder as texts by path. */
    get files() {
        const text = ([path, { content }]) => [path, content.toString()];
        return Object.fromEntries([...this.folder].sort(([a], [b]) => a < b ? -1 : 1).map(text));
    }

    /** Somebody writes a file, or deletes one. */
    edit(path, content) {
        if (content === undefined) this.folder.delete(path);
        else this.folder.set(path, { content: Buffer.from(content), mtime: now() });
        this.isChanged = true;
        this.announceSoon();
    }

    announceSoon() {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => { if (!this.isRestoring) this.announce(); }, DEBOUNCE_MS);
    }

    /** Announces the folder as it is, unless that is known. */
    announce() {
        this.isChanged = false;
        const root = this.plant();
        if (root === this.root || this.heard.has(root)) return;
        this.root = root;
        this.heard.add(root);
        this.emitRef(root);
    }

    emitRef(root) {
        const more = this.acks ? { c: `client_${this.name}`, t: now(), seq: ++this.seq } : {};
        this.socket.emit(ROUTE, { o: this.origin, r: root, ...more });
    }

    /** Makes rows and blobs of the folder: the root. */
    plant() {
        const rows = plant(this.folder);
        for (const row of rows) this.rows.set(row._hash, row);
        for (const { content } of this.folder.values()) this.blobs.set(blobId(content), content);
        return rows.at(-1)._hash;
    }

    hear(event, args) {
        if (typeof args.at(-1) === "function") this.answer(event, args);
        else {
            this.told.push([event, args[0]]);
            if (event === ROUTE || event === `${ROUTE}:bootstrap`) this.follow(args[0]);
        }
        changed();
    }

    /** Puts in place what others announce: of what it hears meanwhile, the last. */
    async follow({ o, r }) {
        if (o === this.origin || this.heard.has(r)) return;
        this.heard.add(r);
        if (this.acks) this.socket.emit(`${ROUTE}:ack:client`, { r });
        this.pending = r;
        if (this.isRestoring) return;
        this.isRestoring = true;
        while (this.pending) {
            const root = this.pending;
            this.pending = undefined;
            try {
                this.folder = await this.fetchTree(root);
                this.root = root;
            } catch (error) {
                this.failures.push(error.message);
                if (!this.mayFail) complaints.push(`${this.name}: ${root}: ${error.stack}`);
            }
        }
        this.isRestoring = false;
        if (this.isChanged) this.announceSoon();
        changed();
    }

    async fetchTree(root) {
        const folder = new Map();
        const directories = [root];
        while (directories.length > 0) {
            for (const child of (await this.fetchRow(directories.pop())).children ?? []) {
                const row = await this.fetchRow(child);
                const { type, relativePath, mtime, blobId: blob } = row.meta;
                if (type === "directory") directories.push(child);
                else folder.set(relativePath, { content: await this.fetchBlob(blob), mtime });
            }
        }
        return folder;
    }

    async fetchRow(hash) {
        if (!this.rows.has(hash)) {
            await this.ask("rawTableCfgs");
            const answer = await this.ask("readRows", { table: TREE, where: { _hash: hash } });
            const [row] = answer[TREE]._data;
            if (!row) throw new Error(`no row ${hash}`);
            if (hashOf(row) !== hash || row._hash !== hash) complaints.push(`${this.name}: another row than ${hash}`);
            this.rows.set(hash, row);
        }
        return this.rows.get(hash);
    }

    async fetchBlob(id) {
        if (!this.blobs.has(id)) {
            const { size } = await this.askBlob("getBlobProperties", id);
            const parts = [];
            for (let start = 0; start < size || parts.length === 0; start += RANGE_BYTES) {
                const range = { start, end: Math.min(size, start + RANGE_BYTES) };
                const options = size > RANGE_BYTES ? { range } : null;
                parts.push(Buffer.from((await this.askBlob("getBlob", id, options)).content));
            }
            const content = Buffer.concat(parts);
            if (blobId(content) !== id) complaints.push(`${this.name}: another blob than ${id}`);
            this.blobs.set(id, content);
        }
        return this.blobs.get(id);
    }

    /** What the server answers: all arguments of the acknowledgement. */
    async request(event, ...args) {
        const what = `an answer to ${event} for ${this.name}`;
        return within(DEADLINE_MS, what, new Promise(resolve => {
            this.socket.emit(event, ...args, (...answer) => resolve(answer));
        }));
    }

    /** The same where tables are asked: the result comes first. */
    async ask(event, ...args) {
        const [result, error] = await this.request(event, ...args);
        if (error) throw new Error(error.message);
        return result;
    }

    /** The same where blobs are: the error comes first. */
    async askBlob(event, ...args) {
        const [error, result] = await this.request(event, ...args);
        if (error) throw new Error(error.message);
        return result;
    }

    /** Answers what the server asks. */
    answer(event, args) {
        const reply = args.pop();
        this.asked.push([event, ...args]);
        const isOfBlobs = event in BLOB_HANDLERS;
        let result = null, error = null;
        try {
            const handler = this.handlers[event];
            if (!handler) throw new Error(`Method "${event}" not found on Io instance`);
            result = handler(this, ...args);
        } catch (thrown) {
            error = thrown; // arrives as {}, as with the library
        }
        if (result === NO_ANSWER) return;
        if (isOfBlobs) reply(error, ...error ? [] : [result]);
        else reply(result, error);
    }

    /** What it was told since the last look, of one kind. */
    look(kind) {
        const found = this.told.filter(([event]) => event === kind).map(([, payload]) => payload);
        this.told = this.told.filter(([event]) => event !== kind);
        return found;
    }

    disconnect() {
        clearTimeout(this.timer);
        this.socket.disconnect();
    }

    situation() {
        const { connected, active } = this.socket;
        const state = connected ? "connected" : active ? "connecting" : "away";
        return [
            `--- ${this.name}: ${state} by ${this.transport}, ${this.opens} connections, disconnects: ${this.disconnects}`,
            `root ${this.root}, ${this.isRestoring ? "restoring" : "idle"}, failures: ${this.failures}`,
            `files: ${JSON.stringify(Object.keys(this.files)).slice(0, 500)}`,
            `told: ${JSON.stringify(this.told.slice(-8)).slice(0, 1500)}`,
            `asked: ${JSON.stringify(this.asked.slice(-8)).slice(0, 1000)}`,
        ];
    }
}

/** What a handler gives that never answers. */
export const NO_ANSWER = Symbol("no answer");

const IO_HANDLERS = {
    rawTableCfgs: () => [],
    tableExists: (agent, table) => table === TREE,
    readRows: (agent, { table, where }) => {
        if (table !== TREE) throw new Error(`Table "${table}" not found`);
        const isMeant = row => Object.entries(where).every(([key, value]) => (row[key] ?? null) === value);
        const found = "_hash" in where ? [agent.rows.get(where._hash)].filter(Boolean) : [...agent.rows.values()];
        const _data = found.filter(isMeant).sort((a, b) => a._hash < b._hash ? -1 : 1);
        return { [table]: { _type: "trees", _data } };
    },
};

const BLOB_HANDLERS = {
    blobExists: ({ blobs }, id) => blobs.has(id),
    getBlobProperties: (agent, id) => properties(id, blobOf(agent, id)),
    getBlob: (agent, id, options) => {
        const blob = blobOf(agent, id);
        const { start = 0, end } = options?.range ?? {};
        return { content: blob.subarray(start, end), properties: properties(id, blob) };
    },
    listBlobs: ({ blobs }) => ({ blobs: [...blobs].map(([id, blob]) => properties(id, blob)) }),
};

/** How the server's requests are answered; scenarios put others in their place. */
export const HANDLERS = { ...IO_HANDLERS, ...BLOB_HANDLERS };

function blobOf({ blobs }, id) {
    if (!blobs.has(id)) throw new Error(`Blob not found: ${id}`);
    return blobs.get(id);
}

function properties(blobId, blob) {
    return { blobId, size: blob.length, createdAt: new Date(0).toISOString() };
}

function now() {
    return Date.now();
}
