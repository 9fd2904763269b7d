// A chart of the last hour. uPlot draws on a canvas; the caption says the latest values in words.
import uPlot from "./vendor/uPlot.esm.js";
import { html, signal, useEffect, useRef } from "./ui.js";

const HEIGHT = 150;
const dark = matchMedia("(prefers-color-scheme: dark)");
const scheme = signal(dark.matches);
dark.addEventListener("change", () => (scheme.value = dark.matches));

/** `series` has names, colours of style.css, and values; `shown` makes a text of a value. */
export function Chart({ title, times, series, shown }) {
  const place = useRef(null);
  const plot = useRef(null);
  const data = [times, ...series.map((one) => one.values)];
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => {
    const colour = (name) =>
      getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 } };
    const element = place.current;
    const width = () => Math.max(200, element.clientWidth);
    plot.current = new uPlot(
      {
        width: width(),
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: true },
          y: { range: (_, low, high) => [0, Math.max(high, 1e-3) * 1.1] },
        },
        axes: [axis, { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => shown(tick)) }],
        series: [
          {},
          ...series.map((one) => ({ label: one.name, stroke: colour(one.colour), width: 2 })),
        ],
      },
      latest.current,
      element,
    );
    const resized = new ResizeObserver(() =>
      plot.current?.setSize({ width: width(), height: HEIGHT }),
    );
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.current.destroy();
      plot.current = null;
    };
  }, [scheme.value, series.map((one) => one.name).join()]);
  useEffect(() => plot.current?.setData(data), [times.at(-1), times.length]);
  const now = (one) => one.values.at(-1) ?? undefined;
  const words = series.map(
    (one) => `${one.name}: ${now(one) === undefined ? "–" : shown(now(one))}`,
  );
  return html`<figure class="chart">
    <figcaption>
      <span class="title">${title}</span>
      ${series.map(
        (one, index) =>
          html`<span class="key"><i class=${one.colour.slice(2)}></i>${words[index]}</span>`,
      )}
    </figcaption>
    <div
      ref=${place}
      role="img"
      aria-label=${`${title}, the last hour; now ${words.join(", ")}`}
    ></div>
  </figure>`;
}
