import { p256, p384, p521 } from '@noble/curves/nist.js';
import { describe, expect, it } from 'vitest';
import { curves, isOnCurve } from './index.js';

const independent = { 'P-256': p256, 'P-384': p384, 'P-521': p521 };

describe.each(Object.values(curves))('curves: $name', (curve) => {
  const { Point } = independent[curve.name];

  it('has the domain parameters of another implementation', () => {
    const { p, n, b } = Point.CURVE();
    expect({ p: curve.p, n: curve.n, b: curve.b }).toEqual({ p, n, b });
    expect(curve.n.toString(2)).toHaveLength(curve.orderBits);
    expect(curve.bytes).toBe(Math.ceil(curve.p.toString(2).length / 8));
  });

  it('isOnCurve() knows the base point, and no neighbour of it', () => {
    const { x, y } = Point.BASE.toAffine();
    expect(isOnCurve(curve, x, y)).toBe(true);
    expect(isOnCurve(curve, x, curve.p - y)).toBe(true);
    expect(isOnCurve(curve, x, y + 1n)).toBe(false);
    expect(isOnCurve(curve, x + 1n, y)).toBe(false);
    expect(isOnCurve(curve, 0n, 0n)).toBe(false);
  });

  it('isOnCurve() refuses coordinates that are not reduced', () => {
    const { x, y } = Point.BASE.toAffine();
    expect(isOnCurve(curve, x + curve.p, y)).toBe(false);
    expect(isOnCurve(curve, x, y - curve.p)).toBe(false);
    expect(isOnCurve(curve, x, y + curve.p)).toBe(false);
    expect(isOnCurve(curve, x - curve.p, y)).toBe(false);
  });
});
