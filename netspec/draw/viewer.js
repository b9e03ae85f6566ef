"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg", ARROW = 6, SHEET = 4, { sizes } = data;
  const state = { picture: 0, closed: new Set(), chosen: -1, hits: [], hit: -1, x: 0, y: 0, zoom: 1 };
  let picture, where, wires, extent, moved = false;

  // -- making elements; text is always a text node

  function el(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  }

  function shape(name, attributes, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function runs(line) {
    return line.map(([words, style]) => (style ? shape("tspan", { class: style }, words) : words));
  }

  // -- where things stand: a plan knows ranks and x, heights depend on what is open

  const isClosed = (node) => node.plan && state.closed.has(node.block);
  const wide = (node) => (isClosed(node) ? node.closed[0] : node.w);

  function high(node) {
    if (!node.plan) return node.h;
    return isClosed(node) ? node.closed[1] : sizes.header + stacked(node.plan).height;
  }

  function stacked(plan) {
    const heights = new Array(plan.gaps.length + 1).fill(0), top = [], bottom = [];
    for (const node of plan.nodes) heights[node.rank] = Math.max(heights[node.rank], high(node));
    let y = 0;
    heights.forEach((height, rank) => {
      top.push(y);
      bottom.push(y + height);
      y += height + (plan.gaps[rank] || 0);
    });
    return { top, bottom, height: y };
  }

  function piece(x0, y0, low, x1, top, y1) {
    if (Math.abs(x0 - x1) < 0.5) return `M${x0} ${y0}V${y1}`;
    const half = (top - low) / 2;
    return `M${x0} ${y0}V${low}C${x0} ${low + half} ${x1} ${top - half} ${x1} ${top}V${y1}`;
  }

  // -- drawing

  function drawPlan(plan, dx, dy, layers, owner) {
    const { top, bottom } = stacked(plan);
    const spots = plan.nodes.map((node) => {
      const height = high(node), middle = dy + (top[node.rank] + bottom[node.rank]) / 2;
      return { x: dx + node.x, y: middle - height / 2, w: wide(node), h: height };
    });
    plan.nodes.forEach((node, n) => {
      if (node.box !== undefined) drawBox(node.box, spots[n], layers);
      else if (node.plan) drawBlock(node, spots[n], layers);
    });
    for (const route of plan.routes) drawRoute(plan, route, spots, top, bottom, dx, dy, layers, owner);
  }

  function drawRoute(plan, route, spots, top, bottom, dx, dy, layers, owner) {
    const [from, to] = [plan.nodes[route.s], plan.nodes[route.t]];
    const way = [[from.rank, route.a], ...(route.via || []), [to.rank, route.b]];
    const begin = spots[route.s].y + spots[route.s].h, end = spots[route.t].y;
    const arrow = to.box !== undefined || to.plan;
    const look = route.status && route.status !== "same" ? route.status : "wire";
    let path = "";
    for (let k = 0; k + 1 < way.length; k++) {
      const [rank, a] = way[k], b = way[k + 1][1], last = k + 2 === way.length;
      const y0 = k ? dy + top[rank] : begin, y1 = last ? end - (arrow && !route.back ? ARROW : 0) : dy + top[rank + 1];
      path += piece(dx + a, y0, dy + bottom[rank], dx + b, dy + top[rank + 1], y1);
    }
    const drawn = shape("path", { d: path, class: look });
    layers.wires.append(drawn);
    const ends = [nameOf(from, owner), nameOf(to, owner)], parts = [drawn];
    if (arrow || route.back) {
      const [x, y, wing] = route.back ? [dx + route.a, begin, ARROW] : [dx + route.b, end, -ARROW];
      const head = shape("polygon", { points: `${x},${y} ${x - 3.5},${y + wing} ${x + 3.5},${y + wing}`, class: look });
      layers.wires.append(head);
      parts.push(head);
    }
    wires.push({ ends, parts });
    if (route.shape) {
      const at = { x: dx + route.a + (route.left ? -5 : 5), "text-anchor": route.left ? "end" : "start", y: begin + 12 + (isClosed(from) ? SHEET : 0), class: "shape", "font-size": sizes.label };
      layers.words.append(shape("text", at, route.shape));
    }
  }

  function nameOf(node, owner) {
    if (node.box !== undefined) return `box${node.box}`;
    return node.plan ? `block${node.block}` : owner;
  }

  function group(id, look, spot, label, layers) {
    const made = shape("g", { class: `node ${look}`, id, tabindex: 0, role: "button", "aria-label": label });
    layers.nodes.append(made);
    where.set(id, spot);
    extent.x0 = Math.min(extent.x0, spot.x - spot.w / 2);
    extent.x1 = Math.max(extent.x1, spot.x + spot.w / 2);
    extent.y1 = Math.max(extent.y1, spot.y + spot.h);
    return made;
  }

  function rect(spot, moveX = 0, moveY = 0, height = spot.h) {
    return shape("rect", { x: spot.x - spot.w / 2 + moveX, y: spot.y + moveY, width: spot.w, height, rx: 6 });
  }

  function write(parent, lines, x, y) {
    lines.forEach((line, n) => {
      const look = n ? { class: "small", "font-size": sizes.small } : { class: "title", "font-size": sizes.title };
      parent.append(shape("text", { x, y, "text-anchor": "middle", "xml:space": "preserve", ...look }, ...runs(line)));
      y += n ? sizes.lines[1] : sizes.lines[0] - 1;
    });
  }

  function drawBox(n, spot, layers) {
    const box = picture.boxes[n], title = box.lines[0].map(([words]) => words).join("");
    const made = group(`box${n}`, box.status || box.kind, spot, `${title}, ${box.layers.map((l) => l.type).join(" + ")}`, layers);
    made.append(rect(spot));
    write(made, box.lines, spot.x, spot.y + sizes.pad + 12);
  }

  function drawBlock(node, spot, layers) {
    const block = picture.blocks[node.block], id = `block${node.block}`;
    if (isClosed(node)) {
      const made = group(id, "other", spot, `${block.title}, closed`, layers);
      made.append(rect(spot, SHEET, SHEET), rect(spot));
      write(made, [[[block.title, ""]], ...block.note.map((line) => [[line, "dim"]])], spot.x, spot.y + sizes.pad + 12);
      return;
    }
    layers.frames.append(shape("g", { class: "block" }, rect(spot)));
    const made = group(id, "other", { ...spot, h: sizes.header }, `${block.title}, open`, layers);
    made.append(rect(spot, 0, 0, sizes.header));
    write(made, [[[block.title, ""]]], spot.x, spot.y + 17);
    drawPlan(node.plan, spot.x - node.plan.width / 2, spot.y + sizes.header, layers, id);
  }

  function draw() {
    picture = data.pictures[state.picture];
    where = new Map();
    wires = [];
    extent = { x0: 0, x1: picture.plan.width, y1: 0 };
    const layers = Object.fromEntries(["frames", "wires", "words", "nodes"].map((name) => [name, shape("g", {})]));
    drawPlan(picture.plan, 0, 0, layers, "");
    world.replaceChildren(layers.frames, layers.wires, layers.words, layers.nodes);
    mark();
  }

  // -- the view

  const world = shape("g", { id: "world" });
  const stage = shape("svg", { id: "stage", tabindex: -1 }, world);
  let asked = false;

  function view() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      world.setAttribute("transform", `translate(${state.x} ${state.y}) scale(${state.zoom})`);
      stage.classList.toggle("far", state.zoom < 0.42);
    });
  }

  function zoomAt(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const zoom = Math.min(4, Math.max(0.02, state.zoom * factor)), k = zoom / state.zoom;
    Object.assign(state, { x: x - (x - state.x) * k, y: y - (y - state.y) * k, zoom });
    view();
  }

  function room() {
    const right = panel.hidden || stage.clientWidth < 700 ? 0 : panel.offsetWidth + 12;
    return { w: stage.clientWidth - right, h: stage.clientHeight, top: 74 };
  }

  function fit(whole) {
    const { w, h, top } = room(), wide = extent.x1 - extent.x0 + 60, tall = extent.y1 + 60;
    const all = Math.min(w / wide, (h - top) / tall);
    state.zoom = Math.min(1.25, whole ? all : Math.max(all, Math.min(w / wide, 0.85)));
    state.x = (w - (extent.x0 + extent.x1) * state.zoom) / 2;
    state.y = top + Math.max(10, (h - top - (extent.y1 + 20) * state.zoom) / 2);
    view();
  }

  function show(id) {
    const spot = where.get(id);
    if (!spot) return;
    const { w, h, top } = room();
    state.zoom = Math.max(state.zoom, 0.7);
    state.x = w / 2 - spot.x * state.zoom;
    state.y = top + (h - top) / 2 - (spot.y + spot.h / 2) * state.zoom;
    view();
  }

  // -- blocks

  const blockOf = (box) => picture.blocks.findIndex((block) => block.boxes.includes(box));

  function keepPlace(id, change) {
    const before = where.get(id), zoom = state.zoom;
    change();
    draw();
    const after = where.get(id);
    if (before && after) {
      state.x += (before.x - after.x) * zoom;
      state.y += (before.y - after.y) * zoom;
    }
    view();
  }

  function toggle(block, alike) {
    const close = !state.closed.has(block), like = picture.blocks[block].like;
    keepPlace(`block${block}`, () => {
      picture.blocks.forEach((other, n) => {
        if (n === block || (alike && other.like === like)) close ? state.closed.add(n) : state.closed.delete(n);
      });
    });
    document.getElementById(`block${block}`).focus({ preventScroll: true });
  }

  function all(close) {
    state.closed = new Set(close ? picture.blocks.keys() : []);
    draw();
    fit(false);
  }

  // -- choosing and searching

  function choose(box, move) {
    if (box >= 0 && state.closed.has(blockOf(box))) {
      state.closed.delete(blockOf(box));
      draw();
    }
    state.chosen = box;
    fill();
    mark();
    if (move) show(`box${box}`);
    if (box >= 0) history.replaceState(null, "", `#${encodeURIComponent(picture.boxes[box].layers[0].name)}`);
  }

  function chooseLayer(name) {
    const box = picture.boxes.findIndex((b) => b.layers.some((layer) => layer.name === name));
    if (box >= 0) choose(box, true);
  }

  function mark() {
    const hits = new Set(state.hits.map((n) => (where.has(`box${n}`) ? `box${n}` : `block${blockOf(n)}`)));
    stage.classList.toggle("seeking", input.value.trim() !== "");
    for (const node of world.querySelectorAll(".node")) {
      node.classList.toggle("chosen", node.id === `box${state.chosen}`);
      node.classList.toggle("hit", hits.has(node.id));
    }
    for (const { ends, parts } of wires) {
      for (const part of parts) part.classList.toggle("lit", state.chosen >= 0 && ends.includes(`box${state.chosen}`));
    }
  }

  function search() {
    const words = input.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    state.hits = words.length ? [...picture.boxes.keys()].filter((n) => words.every((word) => haystack(n).includes(word))) : [];
    state.hit = -1;
    listHits();
    mark();
  }

  const haystacks = new Map();

  function haystack(n) {
    const key = `${state.picture}/${n}`;
    if (!haystacks.has(key)) {
      const box = picture.boxes[n];
      const fields = box.layers.map((l) => [l.name, l.type, ...l.tops.flat(), ...l.fields.map((f) => f.join(" "))].join(" "));
      haystacks.set(key, `${box.lines.flat().map(([words]) => words).join(" ")} ${box.status} ${fields.join(" ")}`.toLowerCase());
    }
    return haystacks.get(key);
  }

  function listHits() {
    found.replaceChildren(...state.hits.slice(0, 200).map((n, k) => {
      const layer = picture.boxes[n].layers[0];
      return el("li", { class: k === state.hit ? "on" : "", onclick: () => step(k - state.hit) }, layer.name, el("span", {}, layer.type));
    }));
    count.textContent = input.value.trim() ? `${state.hits.length} found` : "";
  }

  function step(by) {
    if (!state.hits.length) return;
    state.hit = (state.hit + by + state.hits.length) % state.hits.length;
    listHits();
    choose(state.hits[state.hit], true);
    const on = found.querySelector(".on");
    if (on) on.scrollIntoView({ block: "nearest" });
  }

  // -- the panel

  function rows(pairs) {
    return el("table", {}, ...pairs.map(([name, ...cells]) => el("tr", {}, el("td", {}, name), el("td", {}, ...cells))));
  }

  function part(title, body) {
    return [el("h3", {}, title), body];
  }

  function layerPart(layer) {
    const line = layer.line ? `, line ${layer.line}` : "", parts = [el("h2", {}, layer.name || "(no name)"), el("p", {}, layer.type + line)];
    if (layer.changes.length) {
      const cells = ([what, old, now]) => [what, el("span", { class: "old" }, old), " → ", el("span", { class: "new" }, now)];
      parts.push(...part("changes", rows(layer.changes.map(cells))));
    }
    const wiring = layer.bottoms.map(([blob, maker]) => ["bottom", el("a", { onclick: () => chooseLayer(maker), title: maker }, blob)]);
    wiring.push(...layer.tops.map(([blob, dims]) => ["top", dims ? `${blob}  ${dims}` : blob]));
    if (wiring.length) parts.push(...part("blobs", rows(wiring)));
    if (layer.numbers.length) parts.push(...part("numbers", rows(layer.numbers)));
    if (layer.fields.length) parts.push(...part("fields", rows(layer.fields)));
    return el("section", {}, ...parts);
  }

  function changePart() {
    const items = picture.boxes.map((box, n) => {
      if (!box.status || box.status === "same") return null;
      const [title, ...lines] = box.lines;
      const words = (line) => line.map(([run, style]) => el("span", { class: style }, run));
      const small = lines.map((line) => el("small", {}, ...words(line)));
      return el("li", { onclick: () => choose(n, true) }, el("span", { class: `swatch ${box.status}` }), el("div", {}, ...words(title), ...small));
    });
    return [el("h2", {}, "Changes"), el("p", {}, picture.note), el("ul", { id: "changes" }, ...items.filter(Boolean))];
  }

  function fill() {
    const close = el("button", { class: "close", title: "close (Esc)", "aria-label": "close", onclick: leave }, "✕");
    const box = picture.boxes[state.chosen];
    const diff = picture.boxes.some((b) => b.status);
    panel.hidden = !box && !diff;
    if (box) {
      const back = diff ? [el("p", {}, el("a", { onclick: () => choose(-1) }, "← all changes"))] : [];
      panel.replaceChildren(close, ...back, ...box.layers.map(layerPart));
    } else if (diff) panel.replaceChildren(...changePart());
    panel.scrollTop = 0;
  }

  function leave() {
    if (!keys.hidden) keys.hidden = true;
    else if (input.value) {
      input.value = "";
      search();
    } else choose(-1);
    stage.focus();
  }

  // -- the page

  const input = el("input", { type: "search", placeholder: "Search  /", "aria-label": "search layers", oninput: search });
  const found = el("ul", { id: "found" });
  const count = el("span", { role: "status", hidden: true });
  const title = el("b", {}), note = el("span", {});
  const panel = el("aside", { id: "panel", hidden: true, "aria-label": "layer" });
  const legend = el("div", { id: "legend" });
  const KEYS = [["/", "search; Enter and Shift+Enter go through what is found"], ["arrows", "move"], ["+  −", "zoom"], ["0", "the whole net"],
    ["1", "readable size"], ["c  o", "close, open all blocks"], ["Tab  Enter", "go from box to box, choose"], ["t", "light or dark"], ["Esc", "leave"]];
  const keys = el("div", { id: "keys", hidden: true }, rows(KEYS.map(([key, does]) => [el("kbd", {}, key), does])),
    el("p", {}, "Drag and wheel move and zoom. Shift+click opens or closes all blocks of one kind."));
  const tool = (label, name, run) => el("button", { title: name, "aria-label": name, onclick: run }, label);
  const choices = data.pictures.length > 1 ? data.pictures.map((p, n) => tool(p.name, `phase ${p.name}`, () => open(n))) : [];
  const blockTools = [tool("⊟", "close all blocks (c)", () => all(true)), tool("⊞", "open all blocks (o)", () => all(false))];

  function theme() {
    const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark");
    document.documentElement.classList.remove("dark", "light");
    document.documentElement.classList.add(dark ? "light" : "dark");
  }

  function open(n) {
    state.picture = n;
    picture = data.pictures[n];
    state.closed = new Set(picture.closed ? picture.blocks.keys() : []);
    state.chosen = -1;
    title.textContent = picture.title;
    note.textContent = picture.note;
    choices.forEach((button, k) => button.setAttribute("aria-pressed", k === n));
    blockTools.forEach((button) => { button.hidden = !picture.blocks.length; });
    legend.replaceChildren(...picture.legend.map((look) => el("span", {}, el("i", { class: `swatch ${look}` }), data.words[look])));
    fill();
    draw();
    search();
    fit(false);
  }

  function pick(event) {
    const node = event.target.closest ? event.target.closest(".node") : null;
    if (!node) return choose(-1);
    if (node.id.startsWith("block")) toggle(Number(node.id.slice(5)), event.shiftKey);
    else choose(Number(node.id.slice(3)), false);
  }

  const touches = new Map();
  stage.addEventListener("pointerdown", (event) => {
    touches.set(event.pointerId, [event.clientX, event.clientY]);
    moved = false;
  });
  stage.addEventListener("pointermove", (event) => {
    const last = touches.get(event.pointerId);
    if (!last) return;
    const now = [event.clientX, event.clientY];
    if (touches.size === 2) {
      const other = [...touches].find(([id]) => id !== event.pointerId)[1];
      const far = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]);
      zoomAt(far(now) / Math.max(far(last), 1), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (moved || Math.hypot(now[0] - last[0], now[1] - last[1]) > 3) {
      if (!moved) stage.setPointerCapture(event.pointerId);
      moved = true;
      stage.classList.add("held");
      state.x += now[0] - last[0];
      state.y += now[1] - last[1];
      view();
    } else return;
    touches.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => {
      touches.delete(event.pointerId);
      stage.classList.remove("held");
    });
  }
  stage.addEventListener("click", (event) => { if (!moved) pick(event); });
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode ? 30 : 1;
    if (event.ctrlKey || Math.abs(event.deltaY) >= Math.abs(event.deltaX)) {
      zoomAt(Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0016)), event.clientX, event.clientY);
    } else {
      state.x -= event.deltaX * unit;
      view();
    }
  }, { passive: false });
  world.addEventListener("focusin", (event) => {
    const spot = where.get(event.target.id), { w, h, top } = room();
    if (!spot || !event.target.matches(":focus-visible")) return;
    const x = state.x + spot.x * state.zoom, y = state.y + spot.y * state.zoom;
    if (x < 60 || x > w - 60 || y < top || y > h - 60) show(event.target.id);
  });

  const ACTIONS = {
    "/": () => input.focus(), ArrowLeft: () => { state.x += 80; view(); }, ArrowRight: () => { state.x -= 80; view(); },
    ArrowUp: () => { state.y += 80; view(); }, ArrowDown: () => { state.y -= 80; view(); }, "+": () => zoomAt(1.25), "=": () => zoomAt(1.25),
    "-": () => zoomAt(0.8), 0: () => fit(true), 1: () => fit(false), c: () => all(true), o: () => all(false), t: theme,
    "?": () => { keys.hidden = !keys.hidden; }, n: () => step(1), N: () => step(-1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return leave();
    if (event.target === input) {
      if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
      return undefined;
    }
    const node = event.target.closest && event.target.closest(".node");
    if (node && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      return pick(event);
    }
    const act = ACTIONS[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return undefined;
    event.preventDefault();
    return act();
  });
  addEventListener("resize", view);

  document.body.append(stage,
    el("div", { id: "bar" }, el("div", { id: "head" }, title, note), el("div", { id: "find" }, input, found, count),
      el("div", { id: "tools" }, ...choices, ...blockTools, tool("−", "zoom out (−)", () => zoomAt(0.8)), tool("+", "zoom in (+)", () => zoomAt(1.25)),
        tool("⤢", "the whole net (0)", () => fit(true)), tool("◐", "light or dark (t)", theme), tool("?", "keys (?)", () => { keys.hidden = !keys.hidden; }))),
    legend, panel, keys);
  open(0);
  if (location.hash.length > 1) {
    try {
      chooseLayer(decodeURIComponent(location.hash.slice(1)));
    } catch { /* not a name */ }
  }
})();
