// Times as people read them. All are microseconds.

export function took(us) {
  const one = (n) => (n < 10 ? n.toFixed(1) : n.toFixed(0)).replace(/\.0$/, "");
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${one(us / 1e3)} ms`;
  return `${one(us / 1e6)} s`;
}

export function when(us) {
  return new Date(us / 1000).toISOString().slice(11, 23);
}
