// Bars with their spread, as SVG that reads on light and on dark ground.

const WIDTH = 720;
const NAMES = 190;
const ROW = 26;

const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** `bars`: name, value, low and high; the scale is logarithmic where the values are far apart. */
export function plot(title, bars, number) {
  const values = bars.flatMap(({ value, low, high }) => [value, low, high]).filter((value) => value > 0);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const logarithmic = most / least > 20;
  const from = logarithmic ? Math.log10(least / 2) : 0;
  const to = logarithmic ? Math.log10(most) : most;
  const room = WIDTH - NAMES - 100;
  const at = (value) => Math.max(1, (((logarithmic ? Math.log10(Math.max(value, least / 2)) : value) - from) / (to - from)) * room);
  const rows = bars.map(({ name, value, low, high }, index) => {
    const [y, end] = [40 + index * ROW, NAMES + at(value)];
    const spread = high > low ? `<path d="M${NAMES + at(low)} ${y + 8}H${NAMES + at(high)}" class="spread"/>` : "";
    return (
      `<text x="${NAMES - 8}" y="${y + 12}" text-anchor="end">${escape(name)}</text>` +
      `<rect x="${NAMES}" y="${y}" width="${at(value).toFixed(1)}" height="16" class="${name === "Stampede" ? "own" : "bar"}"/>${spread}` +
      `<text x="${Math.max(end, NAMES + at(high)) + 6}" y="${y + 12}">${escape(number(value))}</text>`
    );
  });
  const height = 40 + bars.length * ROW + 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(title)}">
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.bar { fill: #9aa4b2; } .own { fill: #d9601a; } .spread { stroke: #24292f; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .bar { fill: #5b6573; } .spread { stroke: #e6edf3; } }
</style>
<text x="8" y="20" font-weight="bold">${escape(title)}${logarithmic ? " (logarithmic)" : ""}</text>
${rows.join("\n")}
</svg>
`;
}
