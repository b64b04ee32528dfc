// Runs the real client code of Grafana's data source for Prometheus (npm @grafana/prometheus), headless: `node client.cjs URL` reads one JSON
// object from stdin and writes one to stdout.
//
//   in:  {settings, from, to, variables, steps}   `jsonData` of the data source; a range in milliseconds; variables by name as dashboards have them;
//                                                 what a user does, each `{call, …}` being a name in `CALLS` below
//   out: {answers, sent}                          what each step gave, and every call that reached the server
//
// The editors of the package are never shown, so Grafana's components are not installed: whoever asks for them gets an object that is anything. What
// lies between this code and our server is `grafana.cjs`. `AUTHORIZATION` in the environment is the header of that name.
'use strict';

const Module = require('node:module');
const { JSDOM } = require('jsdom');

/** What only draws. */
const DRAWS = /^(@grafana\/(ui|assistant)|monaco-.*)$|\.css$/;

const anything = new Proxy(function () {}, {
  get: (target, name) => (name === 'prototype' ? target.prototype : name === Symbol.toPrimitive ? () => '' : anything),
  apply: () => anything,
  construct: () => ({}),
});
const load = Module._load;
Module._load = function (name, ...rest) {
  return DRAWS.test(name) ? anything : load.call(this, name, ...rest);
};

const { window } = new JSDOM('', { url: 'http://localhost/', pretendToBeVisual: true });
window.grafanaBootData = { settings: { featureToggles: {} }, user: {}, navTree: [] };
for (const name of Object.getOwnPropertyNames(window)) {
  // Events have to be those of its window; all else that node has stays.
  if (name in globalThis && !/^(Event|EventTarget|CustomEvent|navigator)$/.test(name)) continue;
  Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true });
}
globalThis.window = window;
// Answers alone go to stdout.
for (const level of ['log', 'info', 'debug']) console[level] = (...text) => console.error(...text);

const { lastValueFrom } = require('rxjs');
const { dateTime, rangeUtil } = require('@grafana/data');
const runtime = require('@grafana/runtime');
const { PrometheusDatasource } = require('@grafana/prometheus');
const { Grafana } = require('./grafana.cjs');

/** Pixels of a panel, which are the most points it asks for. */
const POINTS = 400;

/** `TemplateSrv` of Grafana's runtime: `$name`, `${name}`, `${name:raw}` and `[[name]]`. */
class Templates {
  constructor(variables) {
    this.variables = Object.entries(variables).map(([name, variable]) => ({ name, ...variable }));
  }

  getVariables() {
    return this.variables;
  }

  containsTemplate(text) {
    return this.replace(text) !== text;
  }

  getAdhocFilters() {
    return [];
  }

  replace(text, scoped = {}, format) {
    return text?.replace(/\$(\w+)|\[\[(\w+)\]\]|\$\{(\w+)(?::(\w+))?\}/g, (whole, plain, square, braced, own) => {
      const name = plain ?? square ?? braced;
      const variable = scoped[name] ?? this.variables.find((known) => known.name === name);
      if (variable?.value === undefined) return whole;
      // What the dashboard says stands for all is taken as it is.
      if (variable.allValue && [variable.value].flat()[0] === '$__all') return variable.allValue;
      if (own === 'raw' || typeof format !== 'function') return [variable.value].flat().join(',');
      return format(variable.value, variable);
    });
  }
}

const input = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
const grafana = new Grafana(process.argv[2], input.settings, process.env.AUTHORIZATION);
const range = { from: dateTime(input.from), to: dateTime(input.to), raw: { from: dateTime(input.from), to: dateTime(input.to) } };
const instance = { id: 1, uid: 'streamgauge', type: 'prometheus', name: 'Streamgauge', access: 'proxy', url: '/api/datasources/proxy/uid/streamgauge' };
const settings = { ...instance, meta: { id: 'prometheus', info: { version: '13.2.3' } }, jsonData: input.settings };
runtime.setBackendSrv(grafana);
runtime.setTemplateSrv(new Templates(input.variables ?? {}));
runtime.setDataSourceSrv({ getInstanceSettings: () => settings, get: async () => source, getList: () => [settings] });
runtime.setEchoSrv({ addEvent() {}, addBackend() {}, flush() {} });
const source = new PrometheusDatasource(settings);

/** A panel's request for its queries. */
function request(targets, more = {}) {
  const scrape = targets.find(({ interval }) => interval)?.interval ?? source.interval;
  const { interval, intervalMs } = rangeUtil.calculateInterval(range, POINTS, scrape);
  const queries = targets.map((target, at) => ({ refId: String.fromCharCode(65 + at), ...target }));
  return {
    requestId: 'Q100', app: 'dashboard', panelId: 4, dashboardUID: 'fleet', panelPluginId: 'timeseries', timezone: 'utc', startTime: 0,
    range, rangeRaw: range.raw, interval, intervalMs, maxDataPoints: POINTS, scopedVars: {}, targets: queries, ...more,
  };
}

async function frames(targets, more) {
  const { data, error, errors } = await lastValueFrom(source.query(request(targets, more)));
  if (error ?? errors?.[0]) throw new Error((error ?? errors[0]).message);
  return data;
}

/** A frame as its columns: name, labels where there are any, values. */
function columns(frame) {
  const column = ({ name, config, labels, values }) => ({ name: config?.displayNameFromDS ?? name, labels, values: Array.from(values) });
  return { refId: frame.refId, topic: frame.meta?.dataTopic, notices: frame.meta?.notices, columns: frame.fields.map(column) };
}

/** What a user does, by name. */
const CALLS = {
  /** "Save & test". */
  health: () => source.testDatasource(),
  /** What happens as a page with the data source opens: are there exemplars, which rules record what. */
  init: async () => {
    await source.init();
    // It asks for rules as well, and waits for nothing.
    await source.loadRules();
    return { exemplars: source.exemplarsAvailable, rules: source.ruleMappings };
  },
  /** What the editor of queries knows at its start. */
  editor: async () => {
    const { languageProvider } = source;
    await languageProvider.start(range);
    return {
      metrics: languageProvider.retrieveMetrics(),
      histograms: languageProvider.retrieveHistogramMetrics(),
      labels: languageProvider.retrieveLabelKeys(),
      metadata: languageProvider.retrieveMetricsMetadata(),
    };
  },
  labelKeys: ({ match }) => source.languageProvider.queryLabelKeys(range, match),
  labelValues: ({ label, match }) => source.languageProvider.queryLabelValues(range, label, match),
  /** A variable of a dashboard, by its query. */
  variable: async ({ query }) => {
    const { data } = await lastValueFrom(source.variables.query(request([{ query }])));
    return data.map(({ text }) => text);
  },
  /** What "Filters" of a dashboard offer: names, then values of one. */
  tagKeys: async ({ filters = [], queries = [] }) => (await source.getTagKeys({ filters, queries, timeRange: range })).map(({ text }) => text),
  tagValues: async ({ key, filters = [], queries = [] }) =>
    (await source.getTagValues({ key, filters, queries, timeRange: range })).map(({ text }) => text),
  /** A panel with its queries, and filters of the dashboard. */
  panel: async ({ targets, filters, app }) => (await frames(targets, { filters, ...(app && { app }) })).map(columns),
  /** What the editor says about a query whose answer it has seen. */
  hints: async ({ expr }) => {
    const shown = (await frames([{ expr, range: true }])).filter(({ fields }) => fields.length > 1);
    const series = shown.map(({ fields }) => ({ datapoints: Array.from(fields[1].values, (value) => [value, 0]) }));
    return (source.getQueryHints({ refId: 'A', expr }, series) ?? []).map(({ type }) => type);
  },
  annotation: async ({ annotation }) => {
    const { target, ...rest } = source.annotations.prepareAnnotation({ name: 'Alerts', ...annotation });
    const events = await lastValueFrom(source.annotations.processEvents({ ...rest, target }, await frames([{ ...target, range: true }])));
    return events.map(({ time, timeEnd, title, text, tags }) => ({ time, timeEnd, title, text, tags }));
  },
};

(async () => {
  const answers = [];
  for (const { call, ...what } of input.steps) {
    try {
      answers.push({ answer: await CALLS[call](what) });
    } catch (error) {
      // What went wrong is an answer as well: a panel shows it.
      answers.push({ error: error?.data?.message ?? error?.message ?? String(error) });
    }
  }
  await new Promise((done) => process.stdout.write(JSON.stringify({ answers, sent: grafana.sent }) + '\n', done));
  // The window has timers of its own, which would keep the process.
  process.exit(0);
})();
