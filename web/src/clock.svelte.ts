/** The present, once a second, for ages such as "2 min ago". Decisions take times as arguments instead. */

let nowMs = $state(Date.now());
setInterval(() => (nowMs = Date.now()), 1000);

export const clock = {
  get nowMs(): number {
    return nowMs;
  },
};
