mod forest;
mod merge;
