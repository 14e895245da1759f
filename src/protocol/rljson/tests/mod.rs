mod forest;
mod merge;
mod model;
mod route;
mod shelf;
