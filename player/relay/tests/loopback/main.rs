//! A relay on loopback, and players that fetch from it: who is served, who is not, and what is sent.

#[cfg(test)]
mod fetched;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod place;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod served;
