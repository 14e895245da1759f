mod acks;
mod binary;
mod conform;
mod harness;
mod namespaces;
mod packets;
mod properties;
mod toy;
