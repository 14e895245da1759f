// Rows and blobs as the library names them, and the rows that a folder is made of.

import { createHash } from "node:crypto";

const HASH_CHARS = 22;

/** The root of a folder without files: always the same. */
export const EMPTY_ROOT = "YTfW0T6bdCWWdoaakK6bgN";

function digest(bytes) {
    return createHash("sha256").update(bytes).digest("base64url").slice(0, HASH_CHARS);
}

export const blobId = digest;

/** The hash of a row by its content, whatever it says itself. */
export function hashOf(row) {
    return digest(canonical(row));
}

/** Keys in order, no blanks, no `_hash`, nothing that is null; objects within stand as their hash. */
function canonical(object) {
    const keys = Object.keys(object).filter(key => key !== "_hash" && object[key] !== null).sort();
    return `{${keys.map(key => `"${key}":${value(object[key])}`).join(",")}}`;

    function value(it) {
        if (Array.isArray(it)) return `[${it.map(value).join(",")}]`;
        if (it !== null && typeof it === "object") return `"${hashOf(it)}"`;
        // Quotes are escaped, nothing else is.
        return typeof it === "string" ? `"${it.replaceAll('"', '\\"')}"` : String(it);
    }
}

function hashed(row) {
    return { ...row, _hash: hashOf(row) };
}

/** The rows of a folder, given as a map of paths to `{ content, mtime }`, the root last. */
export function plant(folder) {
    const rows = [];
    directory(".");
    return rows;

    function directory(path) {
        const below = path === "." ? "" : `${path}/`;
        const names = new Set();
        for (const file of folder.keys()) if (file.startsWith(below)) names.add(file.slice(below.length).split("/")[0]);
        const children = [...names].sort().map(name => {
            const child = below + name;
            return folder.has(child) ? file(child, folder.get(child)) : directory(child);
        });
        const meta = { type: "directory" };
        return add(path, meta, children.length > 0 ? { isParent: true, children } : { isParent: false });
    }

    function file(path, { content, mtime }) {
        const meta = { type: "file", size: content.length, mtime, blobId: blobId(content) };
        return add(path, meta, { isParent: false });
    }

    function add(path, meta, more) {
        const name = path.split("/").at(-1);
        const row = hashed({ id: name, ...more, meta: hashed({ name, relativePath: path, ...meta }) });
        rows.push(row);
        return row._hash;
    }
}
