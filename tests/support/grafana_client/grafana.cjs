// Grafana's server as its data source for Prometheus sees it: what the client asks of it is asked of Prometheus' API over HTTP, and what comes back
// is given to the client as its server does. Written after what grafana-prometheus-datasource 13 does in Go:
//
// - calls of resources are forwarded by the configured method, by GET where an endpoint knows no other, and again by GET after a 400 or 405;
// - "Save & test" is the instant query 1+1 at the fourth second, then the kind of server;
// - a range query's step is that of the panel, its times are rounded down to steps; an instant query's time is the end as it is;
// - each series is a frame of two fields, times and values.
//
// Calls are kept in `sent` with their status, parameters in the order in which they go.
'use strict';

const { Observable } = require('rxjs');
const { rangeUtil } = require('@grafana/data');

/** Endpoints that know no POST. */
const ONLY_GET = ['api/v1/label/', 'api/v1/metadata', 'api/v1/rules', 'api/v1/alerts', 'api/v1/status/'];
/** Most points of a series that Prometheus answers. */
const POINTS_MAX = 11_000;
/** Longest wait for an answer, in milliseconds. */
const PATIENCE_MS = 60_000;

class Grafana {
  /**
   * @param {string} url of the server behind the data source
   * @param {object} settings `jsonData` of the data source
   * @param {string|undefined} login value of the header Authorization
   */
  constructor(url, settings, login) {
    this.url = url;
    this.method = settings.httpMethod ?? 'POST';
    this.scrapeInterval = settings.timeInterval ?? '15s';
    this.headers = login ? { Authorization: login } : {};
    this.sent = [];
  }

  /** `BackendSrv.fetch` of Grafana's runtime. */
  fetch(options) {
    return new Observable((subscriber) => {
      this.answer(options).then(
        (data) => {
          subscriber.next({ data, status: 200, ok: true, config: options });
          subscriber.complete();
        },
        (error) => subscriber.error(error),
      );
    });
  }

  async answer(options) {
    const [path] = options.url.split('?');
    const resource = path.match(/^\/api\/datasources\/uid\/[^/]+\/resources\/(.*)$/);
    if (resource) return this.resource(resource[1], options);
    if (/^\/api\/datasources\/uid\/[^/]+\/health$/.test(path)) return this.health();
    if (path === '/api/ds/query') return this.queries(options.data);
    throw new Error(`the client asks Grafana for ${options.url}, which is not known here`);
  }

  /** Calls the server behind the data source; its status and body, parsed. */
  async call(method, path, params, headers = {}) {
    const target = `${this.url}/${path}${method === 'GET' && params.size ? `?${params}` : ''}`;
    const answer = await fetch(target, {
      method,
      headers: { ...this.headers, ...headers, 'User-Agent': 'Grafana/13.2.3' },
      body: method === 'POST' ? params : undefined,
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const text = await answer.text();
    this.sent.push(`${method} ${path} ${answer.status} ${params}`);
    try {
      return { status: answer.status, body: JSON.parse(text) };
    } catch {
      throw new Error(`${method} ${path}: no JSON: ${text}`);
    }
  }

  async resource(path, options) {
    const given = Object.entries({ ...options.params, ...options.data }).filter(([, value]) => value !== undefined);
    const params = new URLSearchParams(given.flatMap(([name, value]) => [value].flat().map((one) => [name, one])));
    const isOnlyGet = this.method === 'GET' || ONLY_GET.some((begin) => path.startsWith(begin));
    let answer = await this.call(isOnlyGet ? 'GET' : 'POST', path, params, options.headers);
    if (answer.status === 400 || answer.status === 405) answer = await this.call('GET', path, params, options.headers);
    if (answer.status >= 300) throw { status: answer.status, statusText: '', data: answer.body, config: options };
    return answer.body;
  }

  async health() {
    const asked = await this.call(this.method, 'api/v1/query', new URLSearchParams({ query: '1+1', time: '4' }));
    if (asked.status !== 200) throw { status: 400, statusText: '', data: { status: 'ERROR', message: asked.body.error } };
    const build = await this.call('GET', 'api/v1/status/buildinfo', new URLSearchParams());
    const features = build.body.data?.features;
    const isMimir = features !== undefined && Object.keys(features).length > 0;
    return { status: 'OK', message: 'Successfully queried the Prometheus API.', details: { version: build.body.data?.version, isMimir } };
  }

  async queries({ queries, from, to }) {
    const times = { from: Number(from), to: Number(to) };
    const results = await Promise.all(queries.map(async (query) => [query.refId, await this.query(query, times)]));
    return { results: Object.fromEntries(results) };
  }

  async query(query, { from, to }) {
    const stepMs = this.stepMs(query, to - from);
    const expr = fill(query.expr, { stepMs, rangeMs: to - from, scrapeMs: rangeUtil.intervalToMs(query.interval || this.scrapeInterval) });
    const offsetMs = (query.utcOffsetSec ?? 0) * 1000;
    const aligned = (ms) => (Math.floor((ms + offsetMs) / stepMs) * stepMs - offsetMs) / 1000;
    const range = { query: expr, start: aligned(from), end: aligned(to) };
    const calls = [];
    if (query.instant) calls.push(['api/v1/query', { query: expr, time: to / 1000 }]);
    if (query.range || !query.instant) calls.push(['api/v1/query_range', { ...range, step: stepMs / 1000 }]);
    if (query.exemplar) calls.push(['api/v1/query_exemplars', range]);
    const frames = [];
    for (const [path, params] of calls) {
      const { status, body } = await this.call(this.method, path, new URLSearchParams(params));
      // The panel has the error; what other queries of it answer is shown.
      if (body.status !== 'success') return { status, error: `${body.errorType}: ${body.error}`, frames: [] };
      frames.push(...framesOf(query, body, stepMs));
    }
    if (frames.length === 0) frames.push({ schema: { refId: query.refId, fields: [] }, data: { values: [] } });
    frames[0].schema.meta = { ...frames[0].schema.meta, executedQueryString: `Expr: ${expr}\nStep: ${stepMs / 1000}s` };
    return { status: 200, frames };
  }

  /** Milliseconds of a step: the range over the panel's points, at least what is asked for, and never so little that an answer has too many points. */
  stepMs(query, rangeMs) {
    const asked = query.interval && !query.interval.startsWith('$') ? rangeUtil.intervalToMs(query.interval) : query.intervalMs;
    const points = rangeUtil.roundInterval(rangeMs / (query.maxDataPoints || 100));
    const safe = rangeUtil.roundInterval(rangeMs / POINTS_MAX);
    return Math.max(points, asked || rangeUtil.intervalToMs(this.scrapeInterval), safe) * (query.intervalFactor || 1);
  }
}

/** The expression with the variables that the server fills in. */
function fill(expr, { stepMs, rangeMs, scrapeMs }) {
  const rateMs = Math.max(stepMs + scrapeMs, 4 * scrapeMs);
  const text = (ms) => (ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`);
  const values = {
    rate_interval: text(rateMs),
    rate_interval_ms: rateMs,
    interval: text(stepMs),
    interval_ms: stepMs,
    range: text(rangeMs),
    range_s: Math.round(rangeMs / 1000),
    range_ms: rangeMs,
  };
  return expr.replace(/\$__(\w+)|\$\{__(\w+)\}/g, (whole, plain, braced) => values[plain ?? braced] ?? whole);
}

/** Frames of an answer, in the JSON of Grafana's server. */
function framesOf(query, { data, warnings = [], infos = [] }, stepMs) {
  const notices = [...warnings.map((text) => ({ severity: 'warning', text })), ...infos.map((text) => ({ severity: 'info', text }))];
  if (Array.isArray(data)) return data.map((one) => exemplars(query, one));
  const { resultType, result } = data;
  const series = resultType === 'scalar' ? [{ metric: {}, values: [result] }] : result;
  return series.map(({ metric, value, values, histogram, histograms }) => {
    if (histogram || histograms) throw new Error('native histograms are heatmaps in Grafana, which is not written here');
    const points = values ?? [value];
    const legend = query.legendFormat && query.legendFormat !== '__auto' ? legendOf(query.legendFormat, metric) : undefined;
    const fields = [
      { name: 'Time', type: 'time', config: { interval: stepMs } },
      { name: metric.__name__ ?? 'Value', type: 'number', labels: metric, config: legend === undefined ? {} : { displayNameFromDS: legend } },
    ];
    const type = resultType === 'matrix' ? 'timeseries-multi' : 'numeric-multi';
    const meta = { type, typeVersion: [0, 1], custom: { resultType }, notices };
    const columns = [points.map(([seconds]) => seconds * 1000), points.map(([, text]) => number(text))];
    return { schema: { refId: query.refId, meta, fields }, data: { values: columns } };
  });
}

function exemplars(query, { seriesLabels, exemplars }) {
  const names = [...new Set(exemplars.flatMap(({ labels }) => Object.keys(labels)))];
  const fields = [
    { name: 'Time', type: 'time' },
    { name: 'Value', type: 'number', labels: seriesLabels },
    ...names.map((name) => ({ name, type: 'string' })),
  ];
  const values = [
    exemplars.map(({ timestamp }) => timestamp * 1000),
    exemplars.map(({ value }) => number(value)),
    ...names.map((name) => exemplars.map(({ labels }) => labels[name] ?? null)),
  ];
  return { schema: { refId: query.refId, name: 'exemplar', meta: { custom: { resultType: 'exemplar' } }, fields }, data: { values } };
}

function legendOf(format, labels) {
  return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? '');
}

function number(text) {
  return text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);
}

module.exports = { Grafana };
