mod forest;
mod merge;
mod shelf;
