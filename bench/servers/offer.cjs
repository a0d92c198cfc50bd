// servers/common.py for Node: how a server is told to publish, and what it publishes.
"use strict";
const LANES = 20;
const CATCH_UP_SECONDS = 0.005;

const now = () => Number(process.hrtime.bigint()); // CLOCK_MONOTONIC; exact to 2^53 ns, which is 104 days
const tell = (fields) => process.stdout.write(JSON.stringify(fields) + "\n");

function fields(offer, number) {
  const lane = number % Math.max(LANES, offer.users);
  return {
    userId: 1 + (lane % offer.users),
    operationId: `remove-config-1721181234567-abc${String(lane).padStart(6, "0")}`,
    step: "remove-router",
    message:
      `Eliminando configuración IP del equipo, regla ${String(number).padStart(8, "0")} ` +
      `t=${String(process.hrtime.bigint()).padStart(19, "0")}`,
    progress: Math.min(99, Math.floor((number * 100) / (offer.rate * offer.seconds))),
  };
}

function publishAll(offer, publish) {
  const end = offer.start_ns + offer.seconds * 1e9;
  const most = Math.max(1, Math.floor(offer.rate * CATCH_UP_SECONDS));
  let published = 0;
  let late = 0;
  function turn() {
    const at = now();
    if (at >= end) return tell({ published, late_ms: late / 1e6 });
    const due = Math.floor(((at - offer.start_ns) / 1e9) * offer.rate);
    for (let count = 0; published < due && count < most; count++) {
      late = Math.max(late, at - offer.start_ns - (published / offer.rate) * 1e9);
      publish(fields(offer, published++));
    }
    if (published < due) setImmediate(turn);
    else setTimeout(turn, 1);
  }
  turn();
}

exports.serve = function serve({ port, versions }, publish) {
  let rest = "";
  process.stdin.on("data", (data) => {
    const lines = (rest + data).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const command = JSON.parse(line);
      if (command.command === "publish") publishAll(command, publish);
    }
  });
  process.stdin.on("end", () => process.exit(0));
  tell({ port, pids: [process.pid], versions: { node: process.versions.node, ...versions } });
};
