// Pairs and two of their pictures: divider by mouse, touch and keys, side by side, difference.
const setUpExamples = (content) => {
  const byId = (id) => document.getElementById(id);
  const { columns, examples, metrics } = content;
  const stage = byId("stage");
  const split = byId("split");
  const medians = examples.flatMap((each, i) => (each.rank === "median" ? [i] : []));
  const state = {
    example: medians[Math.floor(medians.length / 2)] ?? 0,
    left: 0,
    right: content.reference ?? Math.min(3, columns.length - 1),
  };

  const write = (value, decimals, signed = false) => {
    if (value === undefined || value === null) return "–";
    if (typeof value === "string") return value;
    return (signed && value >= 0 ? "+" : "") + value.toFixed(decimals);
  };
  const psnr = (side) => {
    const scores = examples[state.example].scores[side];
    const value = scores?.["composed/psnr"];
    return value === undefined ? "" : `${write(value, 1)} dB`;
  };

  const makeChips = (parent, name, values) => {
    values.forEach((value) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name, value });
      const text = document.createElement("span");
      text.textContent = value;
      label.append(input, text);
      parent.append(label);
    });
  };
  const bins = [...new Set(examples.map((each) => each.bin))];
  const ranks = [...new Set(examples.map((each) => each.rank))];
  makeChips(byId("bins"), "bin", bins);
  makeChips(byId("ranks"), "rank", ranks);

  for (const side of ["left", "right"]) {
    const groups = { given: "Given", model: "Models", baseline: "Baselines" };
    for (const [kind, title] of Object.entries(groups)) {
      const group = document.createElement("optgroup");
      group.label = title;
      columns.forEach((column, i) => {
        if (column.kind === kind) group.append(new Option(column.name, i));
      });
      if (group.children.length) byId(side).append(group);
    }
    byId(side).addEventListener("change", (event) => show({ [side]: Number(event.target.value) }));
  }

  const tiles = columns.map((column, i) => {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.className = "tile";
    tile.title = column.name;
    const picture = document.createElement("img");
    picture.alt = "";
    const name = document.createElement("span");
    name.textContent = column.name;
    const score = document.createElement("small");
    tile.append(picture, name, score);
    tile.addEventListener("click", (event) => show({ [event.shiftKey ? "left" : "right"]: i }));
    byId("strip").append(tile);
    return { tile, picture, score };
  });

  const showScores = () => {
    const [left, right] = [state.left, state.right].map(
      (side) => examples[state.example].scores[side] ?? {},
    );
    byId("left-score").textContent = columns[state.left].name;
    byId("right-score").textContent = columns[state.right].name;
    const lines = metrics.map(({ column, name, decimals, higher }) => {
      const line = document.createElement("tr");
      const [a, b] = [left[column], right[column]];
      const both = typeof a === "number" && typeof b === "number";
      const difference = both ? b - a : undefined;
      const heading = document.createElement("th");
      heading.scope = "row";
      heading.textContent = `${name} ${higher ? "↑" : "↓"}`;
      line.append(heading);
      for (const text of [
        write(a, decimals),
        write(b, decimals),
        write(difference, decimals, true),
      ]) {
        line.insertCell().textContent = text;
      }
      if (both && difference !== 0) {
        line.cells[difference > 0 === higher ? 2 : 1].classList.add("better");
      }
      return line;
    });
    byId("scores").tBodies[0].replaceChildren(...lines);
  };

  const show = (change) => {
    Object.assign(state, change);
    const example = examples[state.example];
    for (const side of ["left", "right"]) {
      const column = columns[state[side]];
      byId(`${side}-picture`).src = example.pictures[state[side]];
      byId(`${side}-picture`).alt = `${column.name} ${psnr(state[side])}`.trim();
      const [name, score] = byId(`${side}-tag`).children;
      name.textContent = column.name;
      score.textContent = psnr(state[side]);
      byId(side).value = state[side];
    }
    tiles.forEach(({ tile, picture, score }, i) => {
      picture.src = example.pictures[i];
      score.textContent = psnr(i);
      tile.classList.toggle("on-left", i === state.left);
      tile.classList.toggle("on-right", i === state.right);
      tile.setAttribute("aria-label", `${columns[i].name} ${psnr(i)}`.trim());
    });
    for (const [name, value] of [["bin", example.bin], ["rank", example.rank]]) {
      for (const input of document.getElementsByName(name)) input.checked = input.value === value;
    }
    for (const input of document.getElementsByName("rank")) {
      input.disabled = !examples.some((e) => e.bin === example.bin && e.rank === input.value);
    }
    byId("pair").textContent =
      `${state.example + 1} of ${examples.length} · ${example.image} · hole ${example.hole}`;
    showScores();
    setSplit();
  };

  const setSplit = () => {
    const share = Number(split.value);
    stage.style.setProperty("--split", `${share}%`);
    const names = [columns[state.left].name, columns[state.right].name];
    split.setAttribute(
      "aria-valuetext",
      `${Math.round(share)} % ${names[0]}, ${100 - Math.round(share)} % ${names[1]}`,
    );
  };
  split.addEventListener("input", setSplit);
  split.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 2;
    const moves = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step };
    Object.assign(moves, { PageDown: -10, PageUp: 10, Home: -100, End: 100 });
    if (!(event.key in moves)) return;
    event.preventDefault();
    split.value = Math.min(100, Math.max(0, Number(split.value) + moves[event.key]));
    setSplit();
  });

  const choose = (name, value) => {
    const now = examples[state.example];
    const wanted = { bin: now.bin, rank: now.rank, [name]: value };
    let found = examples.findIndex((e) => e.bin === wanted.bin && e.rank === wanted.rank);
    if (found < 0) found = examples.findIndex((e) => e.bin === wanted.bin);
    show({ example: found });
  };
  for (const name of ["bin", "rank"]) {
    for (const input of document.getElementsByName(name)) {
      input.addEventListener("change", () => choose(name, input.value));
    }
  }
  const move = (by) => show({ example: (state.example + by + examples.length) % examples.length });
  byId("previous").addEventListener("click", () => move(-1));
  byId("next").addEventListener("click", () => move(1));
  byId("swap").addEventListener("click", () => show({ left: state.right, right: state.left }));

  for (const input of document.getElementsByName("mode")) {
    input.addEventListener("change", () => {
      stage.dataset.mode = input.value;
      split.disabled = input.value !== "slider";
    });
  }
  stage.dataset.mode = "slider";
  const smoothen = () => byId("examples").classList.toggle("smooth", byId("smooth").checked);
  byId("smooth").checked = content.size >= 128; // small pictures show their pixels
  byId("smooth").addEventListener("change", smoothen);
  smoothen();
  document.addEventListener("rows", (event) => {
    columns.forEach((column, i) => {
      tiles[i].tile.hidden = column.kind !== "given" && !event.detail.has(column.name);
    });
  });
  show({});
};

const exampleData = document.getElementById("example-data");
if (exampleData) setUpExamples(JSON.parse(exampleData.textContent));
applyFilter();
