/** The API's words, by name. Generated from docs/openapi.json (`npm run types`); nothing is declared twice. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Alarm = Schemas["Alarm"];
export type AlarmDetail = Schemas["AlarmDetail"];
export type Channel = Schemas["Channel"];
export type Candidate = Schemas["Candidate"];
export type Completeness = Schemas["Completeness"];
export type Condition = Schemas["Condition"];
export type Device = Schemas["Device"];
export type DeviceDetail = Schemas["DeviceDetail"];
export type Forecast = Schemas["Forecast"];
export type Forecasts = Schemas["Forecasts"];
export type Me = Schemas["Me"];
export type Observability = Schemas["Observability"];
export type Session = Schemas["Session"];
export type Summary = Schemas["FleetSummary"];
export type Telemetry = Schemas["RawSeries"] | Schemas["BucketSeries"];
export type TelemetryEvent = Schemas["LiveTelemetry"];
